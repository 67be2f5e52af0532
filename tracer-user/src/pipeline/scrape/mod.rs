//! Answers those who gather metrics: a small HTTP server on a thread of its own, which asks the loop
//! that watches. What it says is made when it is asked for, so that nobody pays for what nobody
//! reads; a loop that does not answer in time is not healthy.

mod server;

use std::net::SocketAddr;
use std::thread::JoinHandle;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use crate::view::metrics::MetricsView;

/// Questions under way to the loop.
const QUESTIONS: usize = 8;

/// Where metrics are told, and in which form.
#[derive(Clone, Copy, Debug)]
pub struct MetricsSettings {
    /// Where to listen.
    pub address: SocketAddr,
    /// What the text is, for its `Content-Type`.
    pub content_type: &'static str,
    /// Writes the text.
    pub render: fn(&[MetricsView]) -> Result<String, std::fmt::Error>,
}

/// What the loop is asked.
pub enum Question {
    /// The numbers of all processes that are watched.
    Metrics(oneshot::Sender<Vec<MetricsView>>),
    /// Whether all tasks of all processes are known.
    Ready(oneshot::Sender<bool>),
}

/// The server; it ends when this is dropped.
pub struct Scrape {
    address: SocketAddr,
    questions: mpsc::Receiver<Question>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Scrape {
    /// Listens.
    ///
    /// # Errors
    /// If nobody can listen there.
    pub fn start(settings: MetricsSettings) -> anyhow::Result<Self> {
        let asked = settings.address;
        let failed = move || {
            format!(
                "cannot tell metrics at {asked}: if another loiter does, give this one an address of its own with --metrics=ADDRESS:PORT"
            )
        };
        let listener = std::net::TcpListener::bind(asked).with_context(failed)?;
        listener.set_nonblocking(true).with_context(failed)?;
        let address = listener.local_addr().with_context(failed)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the event loop of the metrics")?;
        let (outbox, questions) = mpsc::channel(QUESTIONS);
        let (stop, stopped) = oneshot::channel();
        let serve = move || {
            runtime.block_on(async {
                let Ok(listener) = TcpListener::from_std(listener) else { return };
                tokio::select! {
                    () = server::serve(listener, settings, outbox) => {}
                    _ = stopped => {}
                }
            });
        };
        let thread = std::thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(serve)
            .context("cannot start the thread of the metrics")?;
        Ok(Self { address, questions, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for the next question; for ever if the server has ended.
    pub async fn next(&mut self) -> Question {
        match self.questions.recv().await {
            Some(question) => question,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Scrape {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.questions.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
