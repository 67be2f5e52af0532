//! Where a running flight recorder is asked to freeze: a socket in its directory, for its owner
//! alone. A line with the reason goes in; a line tells where it is kept, another that all is there.

use std::fs::{File, Permissions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

/// Its name in the directory.
pub const SOCKET: &str = "control";
/// Longest reason, and longest answer.
const MOST_BYTES: u64 = 4096;
/// Requests under way.
const REQUESTS: usize = 8;
/// Who asks does so at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// Someone who wants to know what became of it.
#[derive(Debug)]
pub struct Asker {
    answers: mpsc::UnboundedSender<String>,
}

impl Asker {
    /// It is kept here.
    pub fn begun(&self, path: &Path) {
        self.say("begun", &path.display().to_string());
    }

    /// All of it is there.
    pub fn kept(&self, path: &Path) {
        self.say("kept", &path.display().to_string());
    }

    /// It is not kept.
    pub fn refused(&self, why: &str) {
        self.say("refused", why);
    }

    fn say(&self, what: &str, of: &str) {
        // One line, whatever is in it; and who asked may have gone.
        let _ = self.answers.send(format!("{what} {}\n", of.replace('\n', " ")));
    }
}

/// The socket. Requests come out of the receiver until it is dropped.
pub struct Control {
    _accepting: tokio::task::JoinHandle<()>,
    requests: mpsc::Receiver<(String, Asker)>,
}

impl Control {
    /// Opens it in this directory; inside the tokio runtime.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn open(home: &Path, dir: &File) -> anyhow::Result<Self> {
        let what = || format!("cannot open {}", home.join(SOCKET).display());
        let path = short(dir);
        // Left behind by one who was killed: the directory is locked, so nobody listens there.
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e).with_context(what),
            _ => {}
        }
        let listener = UnixListener::bind(&path).with_context(what)?;
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).with_context(what)?;
        let (sender, requests) = mpsc::channel(REQUESTS);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, sender.clone()));
            }
        });
        Ok(Self { _accepting: accepting, requests })
    }

    /// The next request: the reason, and who asked.
    pub async fn next(&mut self) -> Option<(String, Asker)> {
        self.requests.recv().await
    }
}

/// The names of sockets are short (108 bytes); that of a directory may be long.
fn short(dir: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd()))
}

/// Talks to one who asks. Whatever goes wrong is his loss alone.
async fn serve(stream: UnixStream, requests: mpsc::Sender<(String, Asker)>) {
    let own = rustix::process::geteuid().as_raw();
    if stream.peer_cred().is_ok_and(|peer| peer.uid() != own && peer.uid() != 0) {
        return;
    }
    let (from, mut to) = stream.into_split();
    let mut line = String::new();
    let mut from = tokio::io::BufReader::new(from.take(MOST_BYTES));
    let read = tokio::time::timeout(PATIENCE, from.read_line(&mut line)).await;
    if !matches!(read, Ok(Ok(n)) if n > 0) {
        return;
    }
    let (answers, mut said) = mpsc::unbounded_channel();
    if requests.send((line.trim().to_owned(), Asker { answers })).await.is_err() {
        return;
    }
    while let Some(answer) = said.recv().await {
        if to.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Asks the flight recorder in this directory to keep what it has, waits until all of it is there,
/// and tells where. `begun` is told where it will be.
///
/// # Errors
/// If no loiter records there, or it cannot keep it.
pub fn freeze(dir: &Path, why: &str, begun: &mut dyn FnMut(&str)) -> anyhow::Result<String> {
    let nobody = || format!("no flight recorder is at work in {}", dir.display());
    let home = File::open(dir).with_context(nobody)?;
    let mut stream = std::os::unix::net::UnixStream::connect(short(&home)).with_context(nobody)?;
    let why: String = why.chars().map(|c| if c == '\n' { ' ' } else { c }).collect();
    stream.write_all(format!("{why}\n").as_bytes()).with_context(nobody)?;
    let mut answers = BufReader::new(stream.take(2 * MOST_BYTES));
    loop {
        let mut line = String::new();
        let read = answers.read_line(&mut line).context("cannot read the recorder's answer")?;
        let (what, of) = line.trim_end().split_once(' ').unwrap_or_default();
        match what {
            "begun" => begun(of),
            "kept" => return Ok(of.to_owned()),
            "refused" => bail!("the flight recorder in {} refuses: {of}", dir.display()),
            _ if read == 0 => bail!(
                "the flight recorder in {} ended before all was kept; what was is there",
                dir.display()
            ),
            _ => bail!("the flight recorder in {} gives no answer known", dir.display()),
        }
    }
}
