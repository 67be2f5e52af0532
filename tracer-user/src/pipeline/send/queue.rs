//! What waits to be sent to one receiver, and what became of it. An attempt that may succeed later is repeated,
//! ever more rarely; while a receiver does not answer, its queue fills, and what comes on top is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use hyper::body::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use crate::view::delivery::{DeliveryView, Receiver};

use super::client::{Answer, Client};

/// Between the first two attempts; then twice that, and so on. No shorter whatever the receiver asks for.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Between two attempts at most, whatever the receiver asks for.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The same at the end, when there is little time left.
const LAST_PAUSE: Duration = Duration::from_millis(250);

/// Attempts at one delivery. Metrics: over some five minutes, as the next ones say more. Findings: over an
/// hour, so that a receiver may be away for as long, and yet one that is never taken does not hold up the others.
const fn attempts(to: Receiver) -> u32 {
    match to {
        Receiver::OtlpMetrics => 10,
        Receiver::OtlpLogs | Receiver::Webhook | Receiver::Journal => 66,
    }
}

/// Tells the workers that the end has come.
pub type Ending = watch::Receiver<bool>;

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
pub async fn deliver(client: Client, mut waiting: Waiting, ending: Ending) {
    let mut troubled = false;
    let mut said = String::new();
    while let Some(body) = waiting.from.recv().await {
        let attempts = Attempts::new(attempts(waiting.tally.to), ending.clone());
        let answer = persist(&client, &body, &mut troubled, attempts).await;
        match answer {
            Ok(remark) => {
                waiting.tally.sent();
                if !remark.is_empty() && remark != said {
                    tracing::warn!("{} remarks: {remark}", client.place());
                }
                said = remark;
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

/// Tries until it is taken, and gives what was remarked on it.
///
/// # Errors
/// Why it was refused or given up.
async fn persist(
    client: &Client,
    body: &Bytes,
    troubled: &mut bool,
    mut attempts: Attempts,
) -> Result<String, String> {
    loop {
        match client.post(body.clone()).await {
            Answer::Taken(remark) => return Ok(remark),
            Answer::Refused(why) => return Err(why),
            Answer::Later(after, why) => {
                if !std::mem::replace(troubled, true) {
                    tracing::warn!("{} cannot be told now, trying again: {why}", client.place());
                }
                if !attempts.wait(after).await {
                    return Err(format!("given up after {} attempts: {why}", attempts.made));
                }
            }
        }
    }
}

/// When something is tried again.
struct Attempts {
    made: u32,
    most: u32,
    pause: Duration,
    ending: Ending,
}

impl Attempts {
    const fn new(most: u32, ending: Ending) -> Self {
        Self { made: 0, most, pause: FIRST_PAUSE, ending }
    }

    /// How long until the next attempt, as long as the receiver asked if it did; None if there is none.
    fn next(&mut self, after: Option<Duration>) -> Option<Duration> {
        self.made = self.made.saturating_add(1);
        if self.made >= self.most {
            return None;
        }
        let asked = after.map(|after| after.max(FIRST_PAUSE));
        if *self.ending.borrow() {
            return Some(asked.unwrap_or(LAST_PAUSE));
        }
        let pause = asked.unwrap_or(self.pause).min(LONGEST_PAUSE);
        self.pause = self.pause.saturating_mul(2).min(LONGEST_PAUSE);
        Some(pause)
    }

    /// Waits for the next attempt; false if there is none. When the end comes meanwhile the next attempt is due
    /// at once, as there may be no other.
    async fn wait(&mut self, after: Option<Duration>) -> bool {
        let over = *self.ending.borrow();
        let Some(pause) = self.next(after) else { return false };
        tokio::select! {
            () = sleep(pause) => {}
            // Whoever could tell of an end is gone: that is one.
            _ = self.ending.wait_for(|ending| *ending), if !over => {}
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pause(attempts: &mut Attempts, after: Option<u64>) -> Option<Duration> {
        attempts.next(after.map(Duration::from_secs))
    }

    #[test]
    fn attempts_become_rarer_and_end_and_a_receiver_may_ask_for_other_pauses_within_bounds() {
        let (_lives_on, ending) = watch::channel(false);
        let mut some = Attempts::new(9, ending);
        let asked = [None, None, Some(0), Some(7), Some(86_400), None, None, None];
        let pauses = asked.map(|after| pause(&mut some, after).map(|pause| pause.as_secs()));
        assert_eq!(pauses, [1, 2, 1, 7, 60, 32, 60, 60].map(Some));
        assert_eq!(pause(&mut some, None), None);
    }

    #[test]
    fn at_the_end_pauses_are_short_unless_the_receiver_asks_for_others() {
        let (tell, ending) = watch::channel(false);
        let mut some = Attempts::new(66, ending);
        tell.send_replace(true);
        assert_eq!(pause(&mut some, None), Some(LAST_PAUSE));
        assert_eq!(pause(&mut some, Some(3)), Some(Duration::from_secs(3)));
        assert_eq!(pause(&mut some, None), Some(LAST_PAUSE));
    }

    #[test]
    fn what_finds_no_room_is_dropped_and_counted_and_what_waits_at_the_end_as_well() {
        let (queue, mut waiting) = Queue::new(Receiver::Webhook, 2);
        for n in 0..5 {
            queue.push(vec![n]);
        }
        let counts = |view: DeliveryView| (view.sent, view.failed, view.dropped);
        assert_eq!(counts(queue.tally().view()), (0, 0, 3));
        assert_eq!(waiting.from.try_recv().unwrap(), Bytes::from(vec![0]), "the oldest is kept");
        waiting.tally.sent();
        assert_eq!(counts(queue.tally().at_the_end()), (1, 0, 4));
    }
}
