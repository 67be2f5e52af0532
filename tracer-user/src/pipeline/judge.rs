//! The thread of the model and the detectors: plain synchronous code that eats Inputs and answers
//! with findings and Commands. The channel to it is bounded: when it cannot keep up, draining
//! waits, the ring fills, and the kernel part counts what is lost.

use std::collections::HashSet;
use std::thread::JoinHandle;

use anyhow::Context as _;
use tokio::sync::{mpsc, oneshot};

use crate::base::ProcId;
use crate::detect::{Change, Engine, Settings};
use crate::stream::{Command, Input};
use crate::view::{Acknowledgements, FindingView, Standing, SummaryView, build};

/// Batches under way to the thread. A batch is what one drain of the ring gave.
const BATCHES: usize = 64;

/// What the thread is told.
enum Order {
    Eat(Vec<Input>),
    Summary(ProcId, String, oneshot::Sender<Option<SummaryView>>),
    Alive(ProcId, oneshot::Sender<u64>),
    InDoubt(ProcId, oneshot::Sender<bool>),
}

/// What the thread says by itself.
pub enum Said {
    /// A finding is new.
    Opened(Box<FindingView>),
    /// A finding changed enough to be told again.
    Updated(Box<FindingView>),
    /// A finding is over.
    Resolved(Box<FindingView>),
    /// Model or detectors want something.
    Wants(Command),
}

/// The thread that judges.
pub struct Judge {
    orders: Option<mpsc::Sender<Order>>,
    said: mpsc::UnboundedReceiver<Said>,
    thread: Option<JoinHandle<()>>,
}

impl Judge {
    /// Starts the thread. What is `known` is not told.
    ///
    /// # Errors
    /// If there can be no more threads.
    pub fn start(settings: Settings, known: Acknowledgements) -> anyhow::Result<Self> {
        let (orders, inbox) = mpsc::channel(BATCHES);
        // Findings are few and bounded by the detectors; were this channel bounded, two full
        // channels could wait for each other.
        let (outbox, said) = mpsc::unbounded_channel();
        let thread = std::thread::Builder::new()
            .name("model".to_owned())
            .spawn(move || {
                let engine = Engine::new(settings);
                Bench { engine, known, silent: HashSet::new(), outbox }.serve(inbox);
            })
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

    /// The summary, with the reason of the end in words.
    ///
    /// # Errors
    /// If the thread has ended or does not know the process.
    pub async fn summary(&self, process: ProcId, ended: &str) -> anyhow::Result<SummaryView> {
        let view = self.ask(|answer| Order::Summary(process, ended.to_owned(), answer)).await?;
        view.context("the model does not know this process")
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
    engine: Engine,
    /// What is acknowledged.
    known: Acknowledgements,
    /// Open findings that were not told because of that.
    silent: HashSet<String>,
    outbox: mpsc::UnboundedSender<Said>,
}

impl Bench {
    fn serve(mut self, mut inbox: mpsc::Receiver<Order>) {
        while let Some(order) = inbox.blocking_recv() {
            // Nobody waiting for an answer is no error: the one who asked is being shut down.
            match order {
                Order::Eat(inputs) => self.eat(inputs),
                Order::Summary(process, ended, answer) => {
                    let mut changes = Vec::new();
                    self.engine.tell_rest(process, &mut changes);
                    self.tell(&mut changes);
                    let mut summary = build::summary(&mut self.engine, process, &ended);
                    if let Some(summary) = &mut summary {
                        build::set_apart(summary, &self.engine, process, &self.known);
                    }
                    let _ = answer.send(summary);
                }
                Order::Alive(process, answer) => {
                    let alive = self.engine.model().process(process).map_or(0, |p| p.alive());
                    let _ = answer.send(alive);
                }
                Order::InDoubt(process, answer) => {
                    let process = self.engine.model().process(process);
                    let _ = answer.send(process.is_some_and(|p| p.is_in_doubt()));
                }
            }
        }
    }

    fn eat(&mut self, inputs: Vec<Input>) {
        let (mut changes, mut commands) = (Vec::new(), Vec::new());
        for input in inputs {
            self.engine.feed(input, &mut changes, &mut commands);
            if !changes.is_empty() {
                self.tell(&mut changes);
            }
        }
        for command in commands {
            let _ = self.outbox.send(Said::Wants(command));
        }
    }

    fn tell(&mut self, changes: &mut Vec<Change>) {
        for change in changes.drain(..) {
            let Some(mut view) = build::finding(self.engine.model(), change.finding()) else {
                continue;
            };
            let was_silent = self.silent.remove(&view.id);
            let by = self.known.of(&view.id);
            match by.map(|by| by.standing(view.as_of)) {
                Some(Standing::Holds) => {
                    if !matches!(change, Change::Resolved(_)) {
                        self.silent.insert(view.id);
                    }
                    continue;
                }
                Some(Standing::Expired) => view.expired = by.cloned(),
                None => {}
            }
            let view = Box::new(view);
            let _ = self.outbox.send(match change {
                Change::Resolved(_) if was_silent => continue,
                Change::Grown(_) if was_silent => Said::Opened(view),
                Change::Opened(_) => Said::Opened(view),
                Change::Grown(_) => Said::Updated(view),
                Change::Resolved(_) => Said::Resolved(view),
            });
        }
    }
}
