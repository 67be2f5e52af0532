//! Looks are taken on a thread of their own: reading 100 000 goroutines takes longer than the ring
//! lasts under load, so draining must go on meanwhile. They come in parts, so that a look at many
//! tasks is never in memory twice.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use anyhow::Context as _;
use tokio::sync::mpsc;

use crate::base::ProcId;
use crate::runtime::link::{LookError, Looks};
use crate::stream::{Input, LookOutcome, LookSeq};
use crate::target::{MemoryGauge, MemoryUse};

/// Inputs in a part of a look.
const PART: usize = 1024;
/// Parts under way from the thread.
const PARTS: usize = 2;

/// A look, or part of it.
pub enum Taken {
    /// The memory of the process, then from `SnapshotBegin` on, without the end; to be fed at once.
    Part(Vec<Input>),
    /// The rest, up to `SnapshotEnd`, and how it went.
    Whole(Vec<Input>, LookOutcome),
}

/// What the thread answers: parts, then one that is no part.
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
        let (outbox, answers) = mpsc::channel(PARTS);
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

    /// Waits for more of the answer to the last order. None if the thread is gone.
    pub async fn answer(&mut self) -> Option<Answer> {
        let answer = self.answers.recv().await;
        self.under_way = matches!(answer, Some(Ok(Taken::Part(_))));
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
        let mut part = Vec::with_capacity(PART);
        part.extend(memory.input());
        let outcome = looks.look(seq, &super::clock::now, &mut |input| {
            if part.len() >= PART {
                let full = std::mem::replace(&mut part, Vec::with_capacity(PART));
                // Nobody listens any more: the rest of the look is for nothing, and short.
                let _ = outbox.blocking_send(Ok(Taken::Part(full)));
            }
            part.push(input);
        });
        if outbox.blocking_send(outcome.map(|outcome| Taken::Whole(part, outcome))).is_err() {
            return;
        }
    }
}
