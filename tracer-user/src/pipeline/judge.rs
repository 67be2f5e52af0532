//! The thread of the model and the detectors: plain synchronous code that eats Inputs and answers
//! with findings and Commands. The channel to it is bounded: when it cannot keep up, draining
//! waits, the ring fills, and the kernel part counts what is lost.

use std::thread::JoinHandle;

use anyhow::Context as _;
use tokio::sync::{mpsc, oneshot};

use crate::base::{KTime, ProcId};
use crate::detect::{Change, Engine};
use crate::model::Model;
use crate::stream::{Command, Input};
use crate::view::{DumpView, FindingView, SummaryView, build};

/// Batches under way to the thread. A batch is what one drain of the ring gave.
const BATCHES: usize = 64;

/// What the thread is told.
enum Order {
    Eat(Vec<Input>),
    Check(KTime),
    Dump(ProcId, oneshot::Sender<Option<DumpView>>),
    Summary(ProcId, String, oneshot::Sender<Option<SummaryView>>),
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
    /// Starts the thread.
    ///
    /// # Errors
    /// If there can be no more threads.
    pub fn start(engine: Engine) -> anyhow::Result<Self> {
        let (orders, inbox) = mpsc::channel(BATCHES);
        // Findings are few and bounded by the detectors; were this channel bounded, two full
        // channels could wait for each other.
        let (outbox, said) = mpsc::unbounded_channel();
        let thread = std::thread::Builder::new()
            .name("model".to_owned())
            .spawn(move || Bench { model: Model::new(), engine, outbox }.serve(inbox))
            .context("cannot start the thread of the model")?;
        Ok(Self { orders: Some(orders), said, thread: Some(thread) })
    }

    async fn order(&self, order: Order) -> anyhow::Result<()> {
        let orders = self.orders.as_ref().context("the model was stopped")?;
        orders.send(order).await.ok().context("the thread of the model has ended early")
    }

    /// Feeds inputs; waits while the thread is behind.
    ///
    /// # Errors
    /// If the thread has ended.
    pub async fn eat(&self, inputs: Vec<Input>) -> anyhow::Result<()> {
        if inputs.is_empty() { Ok(()) } else { self.order(Order::Eat(inputs)).await }
    }

    /// Lets time pass and the detectors check what is due.
    ///
    /// # Errors
    /// If the thread has ended.
    pub async fn check(&self, now: KTime) -> anyhow::Result<()> {
        self.order(Order::Check(now)).await
    }

    /// All tasks as they are known now.
    ///
    /// # Errors
    /// If the thread has ended or does not know the process.
    pub async fn dump(&self, process: ProcId) -> anyhow::Result<DumpView> {
        let (answer, view) = oneshot::channel();
        self.order(Order::Dump(process, answer)).await?;
        view.await.ok().flatten().context("the model has no look at this process")
    }

    /// The summary, with the reason of the end in words.
    ///
    /// # Errors
    /// If the thread has ended or does not know the process.
    pub async fn summary(&self, process: ProcId, ended: String) -> anyhow::Result<SummaryView> {
        let (answer, view) = oneshot::channel();
        self.order(Order::Summary(process, ended, answer)).await?;
        view.await.ok().flatten().context("the model does not know this process")
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
            let _ = thread.join();
        }
    }
}
