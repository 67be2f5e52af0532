//! Looks are taken on a thread of their own: reading 100 000 goroutines takes longer than the ring
//! lasts under load, so draining must go on meanwhile.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use anyhow::Context as _;
use tokio::sync::mpsc;

use crate::base::ProcId;
use crate::runtime::link::{LookError, Looks};
use crate::stream::{Input, LookOutcome, LookSeq};
use crate::target::{MemoryGauge, MemoryUse};

/// A look that was taken.
pub struct Taken {
    /// Its inputs: the memory of the process, then from `SnapshotBegin` to `SnapshotEnd`.
    pub inputs: Vec<Input>,
    /// How it went.
    pub outcome: LookOutcome,
}

/// What the thread answers.
pub type Answer = Result<Taken, LookError>;

/// The thread that looks.
pub struct Looker {
    orders: Option<SyncSender<LookSeq>>,
    answers: mpsc::Receiver<Answer>,
    thread: Option<JoinHandle<()>>,
    next: u32,
    under_way: bool,
}

impl Looker {
    /// Starts the thread.
    ///
    /// # Errors
    /// If there can be no more threads.
    pub fn start(
        looks: Box<dyn Looks>,
        memory: MemoryGauge,
        process: ProcId,
    ) -> anyhow::Result<Self> {
        let (orders, inbox) = sync_channel(1);
        let (outbox, answers) = mpsc::channel(1);
        let thread = std::thread::Builder::new()
            .name("look".to_owned())
            .spawn(move || serve(looks, &Memory { gauge: memory, process }, &inbox, &outbox))
            .context("cannot start the thread that reads the target's tasks")?;
        Ok(Self { orders: Some(orders), answers, thread: Some(thread), next: 1, under_way: false })
    }

    /// Orders a look, unless one is under way.
    pub fn order(&mut self) -> bool {
        if self.under_way {
            return false;
        }
        let Some(orders) = &self.orders else { return false };
        if orders.try_send(LookSeq(self.next)).is_err() {
            return false;
        }
        self.next = self.next.saturating_add(1);
        self.under_way = true;
        true
    }

    /// Whether a look is under way.
    pub const fn under_way(&self) -> bool {
        self.under_way
    }

    /// Waits for the answer to the last order. None if the thread is gone.
    pub async fn answer(&mut self) -> Option<Answer> {
        let answer = self.answers.recv().await;
        self.under_way = false;
        answer
    }
}

impl Drop for Looker {
    fn drop(&mut self) {
        drop(self.orders.take());
        self.answers.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Where the memory of the process is read.
struct Memory {
    gauge: MemoryGauge,
    process: ProcId,
}

impl Memory {
    /// None if it cannot be read: a look says why, and without one memory is no news.
    fn input(&self) -> Option<Input> {
        let MemoryUse { rss_bytes, limit_bytes } = self.gauge.read().ok()?;
        let at = super::clock::now();
        Some(Input::Memory { process: self.process, at, rss_bytes, limit_bytes })
    }
}

fn serve(
    mut looks: Box<dyn Looks>,
    memory: &Memory,
    inbox: &Receiver<LookSeq>,
    outbox: &mpsc::Sender<Answer>,
) {
    while let Ok(seq) = inbox.recv() {
        let mut inputs: Vec<Input> = memory.input().into_iter().collect();
        let answer = looks
            .look(seq, &super::clock::now, &mut |input| inputs.push(input))
            .map(|outcome| Taken { inputs, outcome });
        if outbox.blocking_send(answer).is_err() {
            return;
        }
    }
}
