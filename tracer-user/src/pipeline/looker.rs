//! Looks are taken on threads of their own: reading 100 000 goroutines takes longer than the ring
//! lasts under load, so draining must go on meanwhile. They come in parts, so that a look at many
//! tasks is never in memory twice. A few threads look at all processes that are watched, and open new
//! ones, since reading a large binary takes as long. One look is told at a time: the model knows a
//! task's process by the look it is part of.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::thread::JoinHandle;

use anyhow::Context as _;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::mpsc;

use crate::base::{Nanos, ProcId};
use crate::runtime::link::{LookError, Looks};
use crate::stream::{Input, LookOutcome, LookSeq};
use crate::target::{MemoryGauge, MemoryUse};

use super::open::{Opened, Opener};
use super::settings::TargetSettings;

/// Inputs in a part of a look.
const PART: usize = 1024;
/// Parts under way from a thread.
const PARTS: usize = 2;

/// What is needed to look at a process.
pub struct Eyes {
    looks: Box<dyn Looks>,
    memory: MemoryGauge,
    process: ProcId,
    next: u32,
}

impl Eyes {
    /// Of this process.
    pub fn new(looks: Box<dyn Looks>, memory: MemoryGauge, process: ProcId) -> Self {
        Self { looks, memory, process, next: 1 }
    }

    /// None if it cannot be read: a look says why, and without one memory is no news.
    fn memory(&self) -> Option<Input> {
        let MemoryUse { rss_bytes, limit_bytes } = self.memory.read().ok()?;
        let at = super::clock::now();
        Some(Input::Memory { process: self.process, at, rss_bytes, limit_bytes })
    }
}

/// A look that came to its end.
pub struct Look {
    /// At which process.
    pub process: ProcId,
    /// For the next one.
    pub eyes: Eyes,
    /// The rest of it, up to `SnapshotEnd`, and how it went.
    pub found: Result<(Vec<Input>, LookOutcome), LookError>,
    /// Processor time that reading took.
    pub spent: Nanos,
}

/// What the threads answer.
pub enum Heard {
    /// Of a look: the memory of the process, then from `SnapshotBegin` on, without the end; to be
    /// fed at once.
    Part(ProcId, Vec<Input>),
    /// A look ended.
    Looked(Box<Look>),
    /// A process was opened, or could not be.
    Opened(ProcId, TargetSettings, anyhow::Result<Box<Opened>>),
}

enum Order {
    Look(Box<Eyes>),
    Open(TargetSettings, ProcId),
}

/// What the threads have in common.
#[derive(Default)]
struct Desk {
    orders: VecDeque<Order>,
    closed: bool,
}

#[derive(Default)]
struct Queue {
    desk: Mutex<Desk>,
    news: Condvar,
}

impl Queue {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        // Orders are put in and taken out whole.
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for an order; None at the end.
    fn take(&self) -> Option<Order> {
        let mut desk = self.desk();
        loop {
            if desk.closed {
                return None;
            }
            if let Some(order) = desk.orders.pop_front() {
                return Some(order);
            }
            desk = self.news.wait(desk).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The threads that look.
pub struct Lookers {
    queue: Arc<Queue>,
    answers: Vec<mpsc::Receiver<Heard>>,
    threads: Vec<JoinHandle<()>>,
    /// The one that has told a part of a look and not its end.
    speaking: Option<usize>,
}

impl Lookers {
    /// Starts so many threads; `opener` makes what each opens processes with.
    ///
    /// # Errors
    /// If there can be no more threads.
    pub fn start(count: usize, opener: impl Fn() -> Opener) -> anyhow::Result<Self> {
        let queue = Arc::new(Queue::default());
        let mut all = Self { queue, answers: Vec::new(), threads: Vec::new(), speaking: None };
        for _ in 0..count {
            let (outbox, answers) = mpsc::channel(PARTS);
            let (queue, opener) = (Arc::clone(&all.queue), opener());
            let thread = std::thread::Builder::new()
                .name("look".to_owned())
                .spawn(move || serve(&queue, opener, &outbox))
                .context("cannot start the thread that reads the tasks of processes")?;
            all.answers.push(answers);
            all.threads.push(thread);
        }
        Ok(all)
    }

    fn order(&self, order: Order) {
        self.queue.desk().orders.push_back(order);
        self.queue.news.notify_one();
    }

    /// Orders a look.
    pub fn look(&self, eyes: Eyes) {
        self.order(Order::Look(Box::new(eyes)));
    }

    /// Orders a process to be opened under this number.
    pub fn open(&self, target: TargetSettings, process: ProcId) {
        self.order(Order::Open(target, process));
    }

    /// Waits for more of the answers. None if a thread is gone.
    pub async fn heard(&mut self) -> Option<Heard> {
        let Self { answers, speaking, .. } = self;
        std::future::poll_fn(|context| {
            for (i, answers) in answers.iter_mut().enumerate() {
                if speaking.is_some_and(|speaker| speaker != i) {
                    continue;
                }
                if let Poll::Ready(heard) = answers.poll_recv(context) {
                    match &heard {
                        Some(Heard::Part(..)) => *speaking = Some(i),
                        Some(Heard::Looked(_)) => *speaking = None,
                        Some(Heard::Opened(..)) | None => {}
                    }
                    return Poll::Ready(heard);
                }
            }
            Poll::Pending
        })
        .await
    }
}

impl Drop for Lookers {
    fn drop(&mut self) {
        self.queue.desk().closed = true;
        self.queue.news.notify_all();
        self.answers.iter_mut().for_each(mpsc::Receiver::close);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn serve(queue: &Queue, mut opener: Opener, outbox: &mpsc::Sender<Heard>) {
    while let Some(order) = queue.take() {
        let heard = match order {
            Order::Look(eyes) => Heard::Looked(Box::new(look(*eyes, outbox))),
            Order::Open(target, process) => {
                let opened = opener.open(&target, process).map(Box::new);
                Heard::Opened(process, target, opened)
            }
        };
        if outbox.blocking_send(heard).is_err() {
            return;
        }
    }
}

fn look(mut eyes: Eyes, outbox: &mpsc::Sender<Heard>) -> Look {
    let (process, began) = (eyes.process, thread_cpu_time());
    let seq = LookSeq(eyes.next);
    eyes.next = eyes.next.saturating_add(1);
    let mut part = Vec::new();
    part.extend(eyes.memory());
    let found = eyes.looks.look(seq, &super::clock::now, &mut |input| {
        if part.len() >= PART {
            let full = std::mem::replace(&mut part, Vec::with_capacity(PART));
            // Nobody listens any more: the rest of the look is for nothing, and short.
            let _ = outbox.blocking_send(Heard::Part(process, full));
        }
        part.push(input);
    });
    let spent = Nanos(thread_cpu_time().0.saturating_sub(began.0));
    Look { process, eyes, found: found.map(|outcome| (part, outcome)), spent }
}

/// Processor time of the current thread.
fn thread_cpu_time() -> Nanos {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Nanos(seconds.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec.unsigned_abs()))
}
