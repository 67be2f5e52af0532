//! The recorder as the one who has the inputs uses it: encoding happens where they are, packing
//! and writing on a thread of its own. When the disk cannot keep up, [`Recorder::take`] waits, the
//! ring fills, and the kernel part counts what is lost.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::base::Nanos;
use crate::stream::Input;

use super::encoder::{Encoder, Freeze, Order, Stored};
use super::error::RecordError;
use super::freeze::{Done, Kept};
use super::header::Meta;
use super::store::{Limits, Place, Store, Written};

/// Frames under way to the thread that writes, of half a megabyte at most.
const QUEUE: usize = 16;
/// Of the flush interval, what goes by before a frame is made; the rest is for packing, writing
/// and ticks that are late.
const SHARE_OF_FLUSH: u64 = 2;

/// What is recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Content {
    /// Everything.
    #[default]
    Full,
    /// Without labels and build settings: they may hold what not everybody should read.
    Redacted,
}

/// How to record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecorderSettings {
    /// Where to.
    pub place: Place,
    /// How much is kept.
    pub limits: Limits,
    /// What is recorded.
    pub content: Content,
    /// A crash costs at most this.
    pub flush: Nanos,
    /// What wrote it: version and digest of the build.
    pub writer: String,
    /// Words that a replay needs, such as what the detectors went by.
    pub settings: Vec<(String, String)>,
}

impl RecorderSettings {
    /// The usual flush interval.
    pub const FLUSH: Nanos = Nanos::from_secs(1);
}

/// See the module. Dropped without [`Recorder::finish`], the recording has no end, like one whose
/// recorder was killed.
pub struct Recorder {
    encoder: Encoder,
    orders: Vec<Order>,
    outbox: Option<SyncSender<Order>>,
    thread: Option<JoinHandle<Result<Written, RecordError>>>,
}

impl Recorder {
    /// Makes the file or directory and starts the thread.
    ///
    /// # Errors
    /// If the place is taken, or the system refuses.
    pub fn start(settings: RecorderSettings) -> Result<Self, RecordError> {
        let RecorderSettings { place, limits, content, flush, writer, settings } = settings;
        let redacted = content == Content::Redacted;
        let meta = Meta { writer, flush_ns: flush.0, redacted, settings };
        let stored = Arc::new(Stored::default());
        let path = place.path().to_owned();
        let store = Store::create(place, limits, meta, stored.clone())?;
        let share = Nanos(flush.0 / SHARE_OF_FLUSH);
        let encoder = Encoder::new(content, share, limits.segment(), stored);
        let (outbox, inbox) = sync_channel(QUEUE);
        let sync_every = Duration::from_nanos(share.0);
        let thread = std::thread::Builder::new()
            .name("record".to_owned())
            .spawn(move || serve(store, &inbox, sync_every))
            .map_err(RecordError::io("start the thread that writes", &path))?;
        Ok(Self { encoder, orders: Vec::new(), outbox: Some(outbox), thread: Some(thread) })
    }

    /// Takes in inputs, in the order in which the model eats them.
    ///
    /// # Errors
    /// If nothing more can be written; what was written stays. Later calls fail as well.
    pub fn take(&mut self, inputs: &[Input]) -> Result<(), RecordError> {
        for input in inputs {
            self.encoder.take(input, &mut self.orders);
        }
        self.hand_over()
    }

    /// Keeps what there is of a directory's recording, and from now on all that is added, as a
    /// recording of its own in the directory `to`, which must not be there. `done` is told when
    /// what there is lies there; that it cannot be kept is no error of this recording.
    ///
    /// # Errors
    /// As [`Recorder::take`].
    pub fn freeze(&mut self, to: PathBuf, done: Done<()>) -> Result<(), RecordError> {
        self.encoder.freeze(Freeze { to, done }, &mut self.orders);
        self.hand_over()
    }

    /// Ends what [`Recorder::freeze`] has begun, with the next look; `why` goes into it. This
    /// recording goes on. `done` is told what was kept.
    pub fn release(&mut self, why: &str, done: Done<Kept>) {
        self.encoder.release(why, done);
    }

    /// Ends the recording; `why` goes into it.
    ///
    /// # Errors
    /// If the end could not be written.
    pub fn finish(mut self, why: &str) -> Result<Written, RecordError> {
        self.encoder.end(why, &mut self.orders);
        self.hand_over()?;
        self.outbox = None;
        self.join()
    }

    fn hand_over(&mut self) -> Result<(), RecordError> {
        for order in self.orders.drain(..) {
            let sent = self.outbox.as_ref().is_some_and(|outbox| outbox.send(order).is_ok());
            if !sent {
                self.outbox = None;
                break;
            }
        }
        match self.outbox {
            Some(_) => Ok(()),
            None => self.join().and(Err(RecordError::WriterGone)),
        }
    }

    fn join(&mut self) -> Result<Written, RecordError> {
        let thread = self.thread.take().ok_or(RecordError::WriterGone)?;
        thread.join().map_err(|_panic_was_printed| RecordError::WriterGone)?
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.outbox = None;
        if let Some(thread) = self.thread.take() {
            // Nobody is left to be told.
            let _ = thread.join();
        }
    }
}

fn serve(
    mut store: Store,
    inbox: &Receiver<Order>,
    sync_every: Duration,
) -> Result<Written, RecordError> {
    let mut unsynced: Option<Instant> = None;
    loop {
        let wait = unsynced.map_or(sync_every, |at| sync_every.saturating_sub(at.elapsed()));
        match inbox.recv_timeout(wait) {
            Ok(order) => {
                store.carry_out(order)?;
                unsynced.get_or_insert_with(Instant::now);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(store.written()),
        }
        if unsynced.is_some_and(|at| at.elapsed() >= sync_every) {
            store.sync()?;
            unsynced = None;
        }
    }
}
