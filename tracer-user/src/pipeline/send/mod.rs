//! Sends findings elsewhere, on a thread of its own: to a webhook, to an OTLP collector, to the journal. Watching never
//! waits for any of them: queues are bounded, and what finds no room is dropped and counted.

mod client;
mod journal;
mod names;
mod queue;
mod reread;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::view::delivery::{DeliveryView, Receiver};

pub use client::Client;
pub use queue::{Queue, Tally};
pub use reread::{Reread, Secret, secret};

/// At the end, so long is waited for what is under way.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Where an HTTP request goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// Whether it is `https`.
    pub tls: bool,
    /// Name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// With the query.
    pub path: String,
}

impl Endpoint {
    /// The same server, another path.
    pub fn at(&self, path: &str) -> Self {
        Self { path: path.to_owned(), ..self.clone() }
    }
}

/// An HTTP receiver and how to speak to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HttpReceiver {
    /// Where.
    pub endpoint: Endpoint,
    /// File with a bearer token.
    pub token_file: Option<PathBuf>,
    /// File with the certificates to trust, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// What the bodies are, for their `Content-Type`.
    pub content_type: &'static str,
}

/// Where findings are sent.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SendSettings {
    /// A webhook.
    pub webhook: Option<HttpReceiver>,
    /// An OTLP collector.
    pub otlp_logs: Option<HttpReceiver>,
    /// The same, for metrics.
    pub otlp_metrics: Option<HttpReceiver>,
    /// The socket of the journal.
    pub journal: Option<PathBuf>,
}

impl SendSettings {
    fn http(&self) -> impl Iterator<Item = (Receiver, &HttpReceiver)> {
        let all = [
            (Receiver::Webhook, &self.webhook),
            (Receiver::OtlpLogs, &self.otlp_logs),
            (Receiver::OtlpMetrics, &self.otlp_metrics),
        ];
        all.into_iter().filter_map(|(to, receiver)| Some((to, receiver.as_ref()?)))
    }

    /// Reads the files of those who are sent to, and looks whether the journal is there; sends nothing.
    ///
    /// # Errors
    /// As [`Outbox::start`].
    pub fn check(&self) -> anyhow::Result<()> {
        for (to, receiver) in self.http() {
            Client::new(to, receiver)?;
        }
        self.journal.as_deref().map_or(Ok(()), |path| journal::Journal::open(path).map(drop))
    }
}

/// The thread that sends. What it has not sent when it ends is dropped, and counted.
pub struct Outbox {
    queues: Vec<Queue>,
    ending: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Outbox {
    /// Starts the thread. What is sent is counted in one tally for each receiver.
    ///
    /// # Errors
    /// If a file cannot be read, or the journal is not there.
    pub fn start(settings: &SendSettings) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the event loop that sends findings")?;
        let (mut queues, mut workers) = (Vec::new(), Vec::new());
        for (to, receiver) in settings.http() {
            let client = Client::new(to, receiver)?;
            let (queue, waiting) = Queue::new(to, room(to));
            queues.push(queue);
            workers.push(Worker::Http(client, waiting));
        }
        if let Some(path) = &settings.journal {
            let journal = journal::Journal::open(path)?;
            let (queue, waiting) = Queue::new(Receiver::Journal, room(Receiver::Journal));
            queues.push(queue);
            workers.push(Worker::Journal(journal, waiting));
        }
        names::look_up_without_modules();
        let (ending, ended) = watch::channel(false);
        let serve = move || {
            runtime.block_on(work(workers, ended));
            // A name that is still being looked up is not waited for.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new()
            .name("send".to_owned())
            .spawn(serve)
            .context("cannot start the thread that sends findings")?;
        Ok(Self { queues, ending, thread: Some(thread) })
    }

    /// Sends to a receiver, if it is one; what is sent is made only then.
    pub fn send(&self, to: Receiver, what: impl FnOnce() -> Vec<u8>) {
        if let Some(queue) = self.queues.iter().find(|queue| queue.to() == to) {
            queue.push(what());
        }
    }

    /// Where what a receiver is sent waits, if it is one.
    pub fn queue(&self, to: Receiver) -> Option<Queue> {
        self.queues.iter().find(|queue| queue.to() == to).cloned()
    }

    /// The counts.
    pub fn tallies(&self) -> Vec<Arc<Tally>> {
        self.queues.iter().map(Queue::tally).collect()
    }

    /// Sends what waits, for some seconds at most, and tells what became of everything.
    pub fn finish(mut self) -> Vec<DeliveryView> {
        let tallies = self.tallies();
        self.end();
        tallies.iter().map(|tally| tally.at_the_end()).collect()
    }

    fn end(&mut self) {
        self.queues.clear();
        self.ending.send_replace(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.end();
    }
}

/// How much may wait. Findings: a watch tells some together, hardly more. Metrics: what is old is of no
/// use to anybody.
const fn room(to: Receiver) -> usize {
    match to {
        Receiver::OtlpMetrics => 4,
        Receiver::OtlpLogs | Receiver::Webhook | Receiver::Journal => 256,
    }
}

enum Worker {
    Http(Client, queue::Waiting),
    Journal(journal::Journal, queue::Waiting),
}

/// Works until all queues are closed and empty, or for [`LAST_WORDS`] after the end.
async fn work(workers: Vec<Worker>, mut ending: queue::Ending) {
    let mut all = JoinSet::new();
    for worker in workers {
        let ending = ending.clone();
        match worker {
            Worker::Http(client, waiting) => all.spawn(queue::deliver(client, waiting, ending)),
            Worker::Journal(journal, waiting) => all.spawn(journal::deliver(journal, waiting)),
        };
    }
    let over = async {
        let _told_or_gone = ending.wait_for(|ending| *ending).await;
        tokio::time::sleep(LAST_WORDS).await;
    };
    tokio::select! {
        () = async { while all.join_next().await.is_some() {} } => {}
        () = over => {}
    }
}
