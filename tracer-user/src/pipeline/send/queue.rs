//! What waits to be sent to one receiver, and what became of it. An attempt that may succeed later is repeated,
//! ever more rarely; while a receiver does not answer, its queue fills, and what comes on top is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use hyper::body::Bytes;
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::view::delivery::{DeliveryView, Receiver};

use super::client::{Answer, Client};

/// Attempts at one delivery, over some five minutes.
const ATTEMPTS: u32 = 10;
/// Between the first two attempts; then twice that, and so on.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Between two attempts at most, whatever the receiver asks for.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Counts of one receiver.
#[derive(Debug)]
pub struct Tally {
    to: Receiver,
    taken: AtomicU64,
    sent: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
}

impl Tally {
    fn new(to: Receiver) -> Arc<Self> {
        let zero = AtomicU64::default;
        Arc::new(Self { to, taken: zero(), sent: zero(), failed: zero(), dropped: zero() })
    }

    /// One more was sent.
    pub fn sent(&self) {
        self.sent.fetch_add(1, Relaxed);
    }

    /// One more was refused or given up.
    pub fn failed(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    /// As they are now.
    pub fn view(&self) -> DeliveryView {
        DeliveryView {
            to: self.to,
            sent: self.sent.load(Relaxed),
            failed: self.failed.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
        }
    }

    /// When nothing is sent any more: what still waits is dropped.
    pub fn at_the_end(&self) -> DeliveryView {
        let view = self.view();
        let waits = self.taken.load(Relaxed).saturating_sub(view.sent).saturating_sub(view.failed);
        DeliveryView { dropped: view.dropped.saturating_add(waits), ..view }
    }
}

/// Where one puts what is to be sent.
#[derive(Clone)]
pub struct Queue {
    tally: Arc<Tally>,
    to: mpsc::Sender<Bytes>,
}

/// Where what is to be sent is taken out.
pub struct Waiting {
    /// To count in.
    pub tally: Arc<Tally>,
    /// What waits.
    pub from: mpsc::Receiver<Bytes>,
}

impl Queue {
    /// A queue with so much room.
    pub fn new(to: Receiver, room: usize) -> (Queue, Waiting) {
        let tally = Tally::new(to);
        let (sender, from) = mpsc::channel(room);
        (Queue { tally: Arc::clone(&tally), to: sender }, Waiting { tally, from })
    }

    /// To whom.
    pub fn to(&self) -> Receiver {
        self.tally.to
    }

    /// The counts.
    pub fn tally(&self) -> Arc<Tally> {
        Arc::clone(&self.tally)
    }

    /// Adds something; drops it where there is no room. Never waits.
    pub fn push(&self, what: Vec<u8>) {
        let counted = match self.to.try_send(Bytes::from(what)) {
            Ok(()) => &self.tally.taken,
            Err(_) => &self.tally.dropped,
        };
        counted.fetch_add(1, Relaxed);
    }
}

/// Sends what comes, until the queue is closed and empty.
pub async fn deliver(client: Client, mut waiting: Waiting) {
    let mut troubled = false;
    while let Some(body) = waiting.from.recv().await {
        let answer = persist(&client, &body, &mut troubled).await;
        match answer {
            Ok(()) => {
                waiting.tally.sent();
                if std::mem::take(&mut troubled) {
                    tracing::warn!("{} takes what is sent again", client.place());
                }
            }
            Err(why) => {
                waiting.tally.failed();
                tracing::warn!("not delivered to {}: {why}", client.place());
            }
        }
    }
}

async fn persist(client: &Client, body: &Bytes, troubled: &mut bool) -> Result<(), String> {
    let mut pause = FIRST_PAUSE;
    let mut last = String::new();
    for attempt in 1..=ATTEMPTS {
        match client.post(body.clone()).await {
            Answer::Taken => return Ok(()),
            Answer::Refused(why) => return Err(why),
            Answer::Later(after, why) => {
                if !std::mem::replace(troubled, true) {
                    tracing::warn!("{} cannot be told now, trying again: {why}", client.place());
                }
                last = why;
                if attempt < ATTEMPTS {
                    sleep(after.unwrap_or(pause).min(LONGEST_PAUSE)).await;
                    pause = pause.saturating_mul(2);
                }
            }
        }
    }
    Err(format!("given up after {ATTEMPTS} attempts, the last one: {last}"))
}
