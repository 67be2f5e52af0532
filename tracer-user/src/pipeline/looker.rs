//! Looks are taken on threads of their own: reading 100 000 goroutines takes longer than the ring
//! lasts under load, so draining must go on meanwhile. They come in parts, so that a look at many
//! tasks is never in memory twice. A few threads look at all processes that are watched, and open new
//! ones, since reading a large binary takes as long. One look is told at a time: the model knows a
//! task's process by the look it is part of.
//!
//! A read of a process's memory can wait for whoever has to bring the page: a file system in user space, a
//! server that is away, a handler of page faults. A thread that waits so for long is given up, with its
//! process, and another one takes its place.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

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
/// A look that says nothing for so long is held up by what it reads.
const HELD_UP_AFTER: Duration = Duration::from_secs(30);
/// To open a process takes that many times as long: a large binary is read and planned without a word, and loiter may
/// be given little of a processor.
const OPENING_TAKES: u32 = 10;
/// Between two times that somebody looks after the threads no more than this counts: if loiter itself was
/// stopped meanwhile, they were too.
const LONGEST_STEP: Duration = Duration::from_secs(1);
/// At the end, so long is waited for looks that are under way.
const END_WITHIN: Duration = Duration::from_secs(2);

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
    /// A look at this process does not go on; it cannot be looked at any more.
    HeldUp(ProcId),
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

/// What a thread is at, and how often it has begun or said something.
#[derive(Default)]
struct Doing(Mutex<(u64, Option<What>)>);

#[derive(Clone, Copy)]
enum What {
    Looking(ProcId),
    Opening(ProcId, TargetSettings),
}

impl Doing {
    fn set(&self, what: Option<What>) {
        let mut doing = self.lock();
        *doing = (doing.0.wrapping_add(1), what);
    }

    /// It has said something.
    fn goes_on(&self) {
        let mut doing = self.lock();
        doing.0 = doing.0.wrapping_add(1);
    }

    fn lock(&self) -> MutexGuard<'_, (u64, Option<What>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread, as seen from outside.
struct Thread {
    answers: mpsc::Receiver<Heard>,
    doing: Arc<Doing>,
    /// How often it had said something when it was looked after, and for how long it has said nothing since.
    silent: (u64, Duration),
}

impl Thread {
    /// What it has been at for too long, after one more step.
    fn held_up(&mut self, step: Duration, patience: Duration) -> Option<What> {
        let (words, what) = *self.doing.lock();
        let same = words == self.silent.0;
        self.silent =
            (words, if same { self.silent.1.saturating_add(step) } else { Duration::ZERO });
        let patience = match what? {
            What::Looking(_) => patience,
            What::Opening(..) => patience.saturating_mul(OPENING_TAKES),
        };
        // Who waits to be heard is not held up.
        what.filter(|_| self.answers.is_empty() && self.silent.1 > patience)
    }
}

/// The threads that look.
pub struct Lookers {
    queue: Arc<Queue>,
    opener: Box<dyn Fn() -> Opener + Send>,
    threads: Vec<Thread>,
    /// The one that has told a part of a look and not its end.
    speaking: Option<usize>,
    /// How long a look may say nothing.
    patience: Duration,
    /// When the threads were looked after.
    looked_after: Instant,
    /// Each thread has one of these until it ends.
    alive: Option<Sender<()>>,
    ended: Receiver<()>,
}

impl Lookers {
    /// Starts so many threads; `opener` makes what each opens processes with.
    ///
    /// # Errors
    /// If there can be no more threads.
    pub fn start(
        count: usize,
        opener: impl Fn() -> Opener + Send + 'static,
    ) -> anyhow::Result<Self> {
        let (alive, ended) = std::sync::mpsc::channel();
        let mut all = Self {
            queue: Arc::default(),
            opener: Box::new(opener),
            threads: Vec::new(),
            speaking: None,
            patience: HELD_UP_AFTER,
            looked_after: Instant::now(),
            alive: Some(alive),
            ended,
        };
        for _ in 0..count {
            let thread = all.thread()?;
            all.threads.push(thread);
        }
        Ok(all)
    }

    /// One more thread.
    fn thread(&self) -> anyhow::Result<Thread> {
        let (outbox, answers) = mpsc::channel(PARTS);
        let (queue, opener) = (Arc::clone(&self.queue), (self.opener)());
        let doing = Arc::<Doing>::default();
        let desk = Outbox { to: outbox, doing: Arc::clone(&doing) };
        let alive = self.alive.clone();
        std::thread::Builder::new()
            .name("look".to_owned())
            .spawn(move || {
                serve(&queue, opener, &desk);
                drop(alive);
            })
            .context("cannot start the thread that reads the tasks of processes")?;
        Ok(Thread { answers, doing, silent: (0, Duration::ZERO) })
    }

    /// A thread that is held up by what it reads is replaced by another one; what it was at.
    fn held_up(&mut self) -> Option<Heard> {
        let now = Instant::now();
        let step =
            now.duration_since(std::mem::replace(&mut self.looked_after, now)).min(LONGEST_STEP);
        let (mut held_up, patience) = (None, self.patience);
        for (i, thread) in self.threads.iter_mut().enumerate() {
            held_up = thread.held_up(step, patience).map(|what| (i, what)).or(held_up);
        }
        let (i, what) = held_up?;
        // Without another one there is nobody who could give this one up.
        let instead = self.thread().ok()?;
        *self.threads.get_mut(i)? = instead;
        self.speaking.take_if(|speaker| *speaker == i);
        Some(match what {
            What::Looking(process) => Heard::HeldUp(process),
            What::Opening(process, target) => {
                let why = anyhow::anyhow!("reading its program does not come to an end");
                Heard::Opened(process, target, Err(why))
            }
        })
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

    /// Waits for more of the answers; to be asked anew now and then, as that is when threads that are held up
    /// are looked for. None if a thread is gone.
    pub async fn heard(&mut self) -> Option<Heard> {
        if let Some(held_up) = self.held_up() {
            return Some(held_up);
        }
        let Self { threads, speaking, .. } = self;
        std::future::poll_fn(|context| {
            for (i, thread) in threads.iter_mut().enumerate() {
                if speaking.is_some_and(|speaker| speaker != i) {
                    continue;
                }
                if let Poll::Ready(heard) = thread.answers.poll_recv(context) {
                    match &heard {
                        Some(Heard::Part(..)) => *speaking = Some(i),
                        Some(Heard::Looked(_)) => *speaking = None,
                        Some(Heard::Opened(..) | Heard::HeldUp(_)) | None => {}
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
        self.threads.clear();
        self.alive = None;
        // Who is held up does not hold up the end.
        if self.ended.recv_timeout(END_WITHIN) == Err(RecvTimeoutError::Timeout) {
            tracing::debug!("a look is still under way at the end");
        }
    }
}

/// Where a thread puts its answers.
struct Outbox {
    to: mpsc::Sender<Heard>,
    doing: Arc<Doing>,
}

impl Outbox {
    /// False if nobody listens any more.
    fn send(&self, heard: Heard) -> bool {
        let heard = self.to.blocking_send(heard).is_ok();
        self.doing.goes_on();
        heard
    }
}

fn serve(queue: &Queue, mut opener: Opener, outbox: &Outbox) {
    while let Some(order) = queue.take() {
        outbox.doing.set(Some(match &order {
            Order::Look(eyes) => What::Looking(eyes.process),
            Order::Open(target, process) => What::Opening(*process, *target),
        }));
        let heard = match order {
            Order::Look(eyes) => Heard::Looked(Box::new(look(*eyes, outbox))),
            Order::Open(target, process) => {
                let opened = opener.open(&target, process).map(Box::new);
                Heard::Opened(process, target, opened)
            }
        };
        if !outbox.send(heard) {
            return;
        }
        outbox.doing.set(None);
    }
}

fn look(mut eyes: Eyes, outbox: &Outbox) -> Look {
    let (process, began) = (eyes.process, thread_cpu_time());
    let seq = LookSeq(eyes.next);
    eyes.next = eyes.next.saturating_add(1);
    let mut part = Vec::new();
    part.extend(eyes.memory());
    let found = eyes.looks.look(seq, &super::clock::now, &mut |input| {
        if part.len() >= PART {
            let full = std::mem::replace(&mut part, Vec::with_capacity(PART));
            // Nobody listens any more: the rest of the look is for nothing, and short.
            let _ = outbox.send(Heard::Part(process, full));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{KTime, Pid};
    use crate::pipeline::open::Natives;
    use crate::symbolize::SharedInterner;

    /// Tells as many inputs as make a part, then waits until it is let on.
    struct Blocks(Receiver<()>);

    impl Looks for Blocks {
        fn look(
            &mut self,
            _: LookSeq,
            _: &dyn Fn() -> KTime,
            sink: &mut dyn FnMut(Input),
        ) -> Result<LookOutcome, LookError> {
            (0..=PART).for_each(|_| sink(Input::Tick(KTime(1))));
            let _let_on = self.0.recv();
            Err(LookError::Gone)
        }
    }

    struct Ends;

    impl Looks for Ends {
        fn look(
            &mut self,
            _: LookSeq,
            _: &dyn Fn() -> KTime,
            _: &mut dyn FnMut(Input),
        ) -> Result<LookOutcome, LookError> {
            Err(LookError::Gone)
        }
    }

    fn eyes(looks: impl Looks + 'static, process: u32) -> Eyes {
        let memory = MemoryGauge::of(Pid(std::process::id()));
        Eyes::new(Box::new(looks), memory, ProcId(process))
    }

    async fn next(lookers: &mut Lookers) -> Heard {
        loop {
            let heard = tokio::time::timeout(Duration::from_millis(20), lookers.heard()).await;
            if let Ok(heard) = heard {
                return heard.unwrap();
            }
        }
    }

    #[tokio::test]
    async fn a_look_that_is_held_up_is_given_up_and_others_go_on() {
        let opener = || Opener::new(None, SharedInterner::default(), Natives::Opened);
        let mut lookers = Lookers::start(1, opener).unwrap();
        lookers.patience = Duration::from_millis(200);
        let (let_on, until) = std::sync::mpsc::channel();
        lookers.look(eyes(Blocks(until), 1));
        lookers.look(eyes(Ends, 2));
        assert!(matches!(next(&mut lookers).await, Heard::Part(ProcId(1), _)));
        assert!(matches!(next(&mut lookers).await, Heard::HeldUp(ProcId(1))));
        let Heard::Looked(look) = next(&mut lookers).await else { panic!("a look that ended") };
        assert_eq!(look.process, ProcId(2));
        drop(let_on);
    }

    #[tokio::test]
    async fn a_look_is_not_given_up_because_loiter_itself_was_stopped() {
        let opener = || Opener::new(None, SharedInterner::default(), Natives::Opened);
        let mut lookers = Lookers::start(1, opener).unwrap();
        let (let_on, until) = std::sync::mpsc::channel();
        lookers.look(eyes(Blocks(until), 1));
        assert!(matches!(next(&mut lookers).await, Heard::Part(ProcId(1), _)));
        assert!(lookers.held_up().is_none());
        lookers.looked_after = lookers.looked_after.checked_sub(HELD_UP_AFTER * 2).unwrap();
        assert!(lookers.held_up().is_none());
        drop(let_on);
        let heard = next(&mut lookers).await;
        assert!(matches!(heard, Heard::Looked(_)), "it ends as any other");
    }
}
