//! Answers those who gather metrics: a small HTTP server on a thread of its own, which asks the loop
//! that watches. What it says is made when it is asked for, so that nobody pays for what nobody
//! reads; a loop that does not answer in time is not healthy.

mod guard;
mod push;
mod server;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use crate::view::WallTime;
use crate::view::delivery::DeliveryView;
use crate::view::metrics::MetricsView;
use crate::view::watch::Notice;

use super::send::Tally;
use guard::Guard;

pub use guard::TlsFiles;
pub use push::PushSettings;

/// Questions under way to the loop.
const QUESTIONS: usize = 8;

/// What metrics are made of.
pub struct Told<'a> {
    /// The processes that are watched.
    pub processes: &'a [MetricsView],
    /// What became of what was sent elsewhere.
    pub deliveries: &'a [DeliveryView],
    /// Now.
    pub at: WallTime,
}

/// Where metrics are told, and in which form.
#[derive(Clone)]
pub struct MetricsSettings {
    /// Where to listen; None = nowhere.
    pub listen: Option<ListenSettings>,
    /// To whom to send; None = to nobody.
    pub push: Option<PushSettings>,
    /// What is counted of what is sent elsewhere.
    pub tallies: Vec<Arc<Tally>>,
    /// What the text is, for its `Content-Type`.
    pub content_type: &'static str,
    /// Writes the text.
    pub render: fn(&Told<'_>) -> Result<String, std::fmt::Error>,
}

/// Where to listen, and who may read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListenSettings {
    /// Where.
    pub address: SocketAddr,
    /// A file with the token that readers have; None = everybody may read.
    pub token_file: Option<PathBuf>,
    /// None = without TLS.
    pub tls: Option<TlsFiles>,
}

impl ListenSettings {
    /// Reads the files of those who may come; listens nowhere.
    ///
    /// # Errors
    /// If they cannot be read, or are not what they are to be.
    pub fn check(&self) -> anyhow::Result<()> {
        self.guard().map(drop)
    }

    fn guard(&self) -> anyhow::Result<Guard> {
        Guard::new(self.token_file.as_ref(), self.tls.as_ref()).context("cannot guard the metrics")
    }
}

/// What the loop is asked.
pub enum Question {
    /// The numbers of all processes that are watched.
    Metrics(oneshot::Sender<Vec<MetricsView>>),
    /// Whether all tasks of all processes are known.
    Ready(oneshot::Sender<bool>),
}

/// Those who tell; they end when this is dropped.
pub struct Scrape {
    told: Option<Notice>,
    questions: mpsc::Receiver<Question>,
    push: Option<PushSettings>,
    teller: Arc<server::Teller>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// A socket that listens, and who may come.
struct Listening {
    listener: std::net::TcpListener,
    address: SocketAddr,
    guard: Guard,
}

impl Listening {
    fn new(settings: &ListenSettings) -> anyhow::Result<Self> {
        let asked = settings.address;
        let failed = move || {
            format!(
                "cannot tell metrics at {asked}: if another loiter does, give this one an address of its own with --metrics=ADDRESS:PORT"
            )
        };
        let guard = settings.guard()?;
        let listener = std::net::TcpListener::bind(asked).with_context(failed)?;
        listener.set_nonblocking(true).with_context(failed)?;
        let address = listener.local_addr().with_context(failed)?;
        Ok(Self { listener, address, guard })
    }

    fn notice(&self, settings: &ListenSettings) -> Notice {
        let scheme = if settings.tls.is_some() { "https" } else { "http" };
        let readers = if settings.token_file.is_some() {
            "whoever has the token"
        } else if self.address.ip().is_loopback() {
            "everybody on this host"
        } else {
            "everybody who can reach it"
        };
        Notice::Metrics { scheme, address: self.address.to_string(), readers }
    }
}

impl Scrape {
    /// Listens, and sends.
    ///
    /// # Errors
    /// If nobody can listen there.
    pub fn start(settings: MetricsSettings) -> anyhow::Result<Self> {
        let listening = settings.listen.as_ref().map(Listening::new).transpose()?;
        let told = settings.listen.as_ref().zip(listening.as_ref()).map(|(s, l)| l.notice(s));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the event loop of the metrics")?;
        let (outbox, questions) = mpsc::channel(QUESTIONS);
        let (stop, stopped) = oneshot::channel();
        let push = settings.push.clone();
        let teller = Arc::new(server::Teller::new(settings));
        let (pushes, tells) = (push.clone(), Arc::clone(&teller));
        let serve = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = tell(listening, pushes, tells, outbox) => {}
                    _ = stopped => {}
                }
            });
        };
        let thread = std::thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(serve)
            .context("cannot start the thread of the metrics")?;
        Ok(Self { told, questions, push, teller, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens, and who may read.
    pub const fn notice(&self) -> Option<&Notice> {
        self.told.as_ref()
    }

    /// Whether somebody is sent the last numbers.
    pub const fn wants_last(&self) -> bool {
        self.push.is_some()
    }

    /// Sends the last numbers of all processes.
    pub fn tell_last(&self, processes: &[MetricsView]) {
        if let Some(push) = &self.push {
            push.queue.push(self.teller.told(processes, push.encode));
        }
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

async fn tell(
    listening: Option<Listening>,
    push: Option<PushSettings>,
    teller: Arc<server::Teller>,
    questions: mpsc::Sender<Question>,
) {
    let pushed = async {
        if let Some(push) = push {
            push::push(push, Arc::clone(&teller), questions.clone()).await;
        }
    };
    let served = async {
        if let Some(Listening { listener, guard, .. }) = listening
            && let Ok(listener) = TcpListener::from_std(listener)
        {
            server::serve(listener, Arc::clone(&teller), guard, questions.clone()).await;
        }
    };
    tokio::join!(pushed, served);
}
