//! The thread of the model and the detectors: plain synchronous code that eats Inputs and answers
//! with findings and Commands. The channel to it is bounded: when it cannot keep up, draining
//! waits, the ring fills, and the kernel part counts what is lost.

use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::{mpsc, oneshot};

use crate::base::ProcId;
use crate::record::{Done, Kept, RecordError, Recorder, Written};
use crate::stream::{Command, Input};
use crate::view::SummaryView;
use crate::view::metrics::MetricsView;

use super::flight::Gauge;
use super::teller::{Teller, Told};

/// Batches under way to the thread. A batch is what one drain of the ring gave.
const BATCHES: usize = 64;

/// What the thread is told.
enum Order {
    Eat(Vec<Input>),
    Summary(ProcId, String, oneshot::Sender<Option<SummaryView>>),
    Metrics(ProcId, oneshot::Sender<Option<MetricsView>>),
    Alive(ProcId, oneshot::Sender<u64>),
    InDoubt(ProcId, oneshot::Sender<bool>),
    ExitCode(ProcId, oneshot::Sender<Option<u32>>),
    Freeze(PathBuf, Done<()>),
    Release(String, Done<Kept>),
    Forget(ProcId),
    EndRecording(String, oneshot::Sender<Option<Result<Written, RecordError>>>),
}

/// What the thread says by itself.
pub enum Said {
    /// There is news of a finding.
    Finding(Told),
    /// Model or detectors want something.
    Wants(Command),
    /// The number of tasks has passed a bound: a word for it, and what happened.
    Passed(&'static str, String),
    /// Nothing is recorded any more.
    RecordingStopped(RecordError),
}

/// The thread that judges.
pub struct Judge {
    orders: Option<mpsc::Sender<Order>>,
    said: mpsc::UnboundedReceiver<Said>,
    thread: Option<JoinHandle<()>>,
}

impl Judge {
    /// Starts the thread. The recorder is given all that the model eats, the gauge how many tasks
    /// there are of the process defined last.
    ///
    /// # Errors
    /// If there can be no more threads.
    pub fn start(teller: Teller, recorder: Option<Recorder>, gauge: Gauge) -> anyhow::Result<Self> {
        let (orders, inbox) = mpsc::channel(BATCHES);
        // Findings are few and bounded by the detectors; were this channel bounded, two full
        // channels could wait for each other.
        let (outbox, said) = mpsc::unbounded_channel();
        let thread = std::thread::Builder::new()
            .name("model".to_owned())
            .spawn(move || Bench { teller, recorder, gauge, process: None, outbox }.serve(inbox))
            .context("cannot start the thread of the model")?;
        Ok(Self { orders: Some(orders), said, thread: Some(thread) })
    }

    async fn order(&self, order: Order) -> anyhow::Result<()> {
        let orders = self.orders.as_ref().context("the model was stopped")?;
        orders.send(order).await.ok().context("the thread of the model has ended early")
    }

    async fn ask<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> anyhow::Result<T> {
        let (answer, view) = oneshot::channel();
        self.order(order(answer)).await?;
        view.await.ok().context("the thread of the model has ended early")
    }

    /// Feeds inputs; waits while the thread is behind.
    ///
    /// # Errors
    /// If the thread has ended.
    pub async fn eat(&self, inputs: Vec<Input>) -> anyhow::Result<()> {
        if inputs.is_empty() { Ok(()) } else { self.order(Order::Eat(inputs)).await }
    }

    /// Whether the next [`Judge::eat`] would not have to wait, waiting for that as long as `patience`.
    pub async fn has_room(&self, patience: Duration) -> bool {
        let Some(orders) = &self.orders else { return true };
        tokio::time::timeout(patience, orders.reserve_many(2)).await.is_ok()
    }

    /// The summary, with the reason of the end in words.
    ///
    /// # Errors
    /// If the thread has ended or does not know the process.
    pub async fn summary(&self, process: ProcId, ended: &str) -> anyhow::Result<SummaryView> {
        let view = self.ask(|answer| Order::Summary(process, ended.to_owned(), answer)).await?;
        view.context("the model does not know this process")
    }

    /// A process in numbers; None if it is not known.
    ///
    /// # Errors
    /// If the thread has ended.
    pub async fn metrics(&self, process: ProcId) -> anyhow::Result<Option<MetricsView>> {
        self.ask(|answer| Order::Metrics(process, answer)).await
    }

    /// Tasks alive, the runtime's own left out.
    ///
    /// # Errors
    /// If the thread has ended.
    pub async fn alive(&self, process: ProcId) -> anyhow::Result<u64> {
        self.ask(|answer| Order::Alive(process, answer)).await
    }

    /// Whether something lost is not made good for yet.
    ///
    /// # Errors
    /// If the thread has ended.
    pub async fn is_in_doubt(&self, process: ProcId) -> anyhow::Result<bool> {
        self.ask(|answer| Order::InDoubt(process, answer)).await
    }

    /// The raw wait status with which a process exited, if an event has told.
    ///
    /// # Errors
    /// If the thread has ended.
    pub async fn exit_code(&self, process: ProcId) -> anyhow::Result<Option<u32>> {
        self.ask(|answer| Order::ExitCode(process, answer)).await
    }

    /// Forgets a process that has ended and was summed up.
    ///
    /// # Errors
    /// If the thread has ended.
    pub async fn forget(&self, process: ProcId) -> anyhow::Result<()> {
        self.order(Order::Forget(process)).await
    }

    /// Keeps what was recorded and all that follows in this directory. `done` is dropped if nothing
    /// is recorded any more.
    ///
    /// # Errors
    /// If the thread has ended.
    pub async fn freeze(&self, to: PathBuf, done: Done<()>) -> anyhow::Result<()> {
        self.order(Order::Freeze(to, done)).await
    }

    /// Ends what [`Judge::freeze`] has begun, for this reason.
    ///
    /// # Errors
    /// If the thread has ended.
    pub async fn release(&self, why: String, done: Done<Kept>) -> anyhow::Result<()> {
        self.order(Order::Release(why, done)).await
    }

    /// Ends the recording, with the reason in words, and tells what was written. None if nothing is
    /// recorded, or it was stopped before.
    ///
    /// # Errors
    /// If the end could not be written, or the thread has ended.
    pub async fn end_recording(&self, ended: &str) -> anyhow::Result<Option<Written>> {
        let done = self.ask(|answer| Order::EndRecording(ended.to_owned(), answer)).await?;
        done.transpose().context("the recording has no end")
    }

    /// Waits for what the thread says next. None if it has ended.
    pub async fn said(&mut self) -> Option<Said> {
        self.said.recv().await
    }

    /// What the thread has said and nobody has taken yet.
    pub fn said_now(&mut self) -> Option<Said> {
        self.said.try_recv().ok()
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was printed; the one who asked it last got an error.
            let _ = thread.join();
        }
    }
}

/// What the thread has.
struct Bench {
    teller: Teller,
    recorder: Option<Recorder>,
    gauge: Gauge,
    /// The one defined last.
    process: Option<ProcId>,
    outbox: mpsc::UnboundedSender<Said>,
}

impl Bench {
    fn serve(mut self, mut inbox: mpsc::Receiver<Order>) {
        while let Some(order) = inbox.blocking_recv() {
            // Nobody waiting for an answer is no error: the one who asked is being shut down.
            match order {
                Order::Eat(inputs) => self.eat(inputs),
                Order::Summary(process, ended, answer) => {
                    let mut told = Vec::new();
                    let summary = self.teller.summary(process, &ended, &mut told);
                    self.tell(&mut told);
                    let _ = answer.send(summary);
                }
                Order::Metrics(process, answer) => {
                    let _ = answer.send(self.teller.metrics(process));
                }
                Order::Alive(process, answer) => {
                    let alive =
                        self.teller.engine().model().process(process).map_or(0, |p| p.alive());
                    let _ = answer.send(alive);
                }
                Order::InDoubt(process, answer) => {
                    let process = self.teller.engine().model().process(process);
                    let _ = answer.send(process.is_some_and(|p| p.is_in_doubt()));
                }
                Order::ExitCode(process, answer) => {
                    let process = self.teller.engine().model().process(process);
                    let _ = answer.send(process.and_then(|p| p.exit_code()));
                }
                Order::Forget(process) => self.teller.forget(process),
                Order::Freeze(to, done) => {
                    let frozen = self.recorder.as_mut().map(|r| r.freeze(to, done));
                    self.note_recorder(frozen);
                }
                Order::Release(why, done) => {
                    if let Some(recorder) = &mut self.recorder {
                        recorder.release(&why, done);
                    }
                }
                Order::EndRecording(ended, answer) => {
                    let _ = answer.send(self.recorder.take().map(|r| r.finish(&ended)));
                }
            }
        }
    }

    fn eat(&mut self, inputs: Vec<Input>) {
        let recorded = self.recorder.as_mut().map(|recorder| recorder.take(&inputs));
        self.note_recorder(recorded);
        let (mut told, mut commands) = (Vec::new(), Vec::new());
        for input in inputs {
            if let Input::ProcessDef(def) = &input {
                self.process = Some(def.process);
            }
            self.teller.feed(input, &mut told, &mut commands);
            if !told.is_empty() {
                self.tell(&mut told);
            }
        }
        for command in commands {
            let _ = self.outbox.send(Said::Wants(command));
        }
        self.gauge();
    }

    fn note_recorder(&mut self, recorded: Option<Result<(), RecordError>>) {
        if let Some(Err(error)) = recorded {
            self.recorder = None;
            let _ = self.outbox.send(Said::RecordingStopped(error));
        }
    }

    /// Before the first look nobody knows how many there are.
    fn gauge(&mut self) {
        let model = self.teller.engine().model();
        let process = self.process.and_then(|process| model.process(process));
        if let Some(process) = process.filter(|p| p.first_look().is_some())
            && let Some((word, why)) = self.gauge.note(model.now(), process.alive())
        {
            let _ = self.outbox.send(Said::Passed(word, why));
        }
    }

    fn tell(&self, told: &mut Vec<Told>) {
        for news in told.drain(..) {
            let _ = self.outbox.send(Said::Finding(news));
        }
    }
}
