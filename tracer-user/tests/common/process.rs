//! A Go program under watch. It speaks lines: it says `ready ...` when it is in the state it
//! promises, obeys commands on its standard input, and ends when that is closed.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Longest wait for a line. Generous: machines under load are slow, and a hang is the only
/// thing this has to end.
const LINE_TIMEOUT: Duration = Duration::from_secs(120);

/// Copies a program that is then run. Another process does it: were the copy open for writing here,
/// a child that another test starts meanwhile would hold it open as well, and it could not be run.
pub fn copy_program(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg(from).arg(to).status().expect("cp can be run");
    assert!(copied.success(), "cannot copy {} to {}", from.display(), to.display());
}

/// A running program; killed when dropped.
pub struct GoProc {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    seen: Vec<String>,
    name: String,
}

impl GoProc {
    /// Starts a program.
    pub fn start(exe: &Path, args: &[&str]) -> GoProc {
        GoProc::start_with(exe, args, &[])
    }

    /// Starts a program and waits until it says `ready`; gives what stands behind it.
    pub fn start_ready(exe: &Path, args: &[&str]) -> (GoProc, String) {
        let mut process = GoProc::start(exe, args);
        let rest = process.wait_for("ready");
        (process, rest)
    }

    /// Starts a program with further environment variables.
    pub fn start_with(exe: &Path, args: &[&str], env: &[(&str, &str)]) -> GoProc {
        let mut command = Command::new(exe);
        command.args(args).envs(env.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child =
            command.spawn().unwrap_or_else(|e| panic!("cannot start {}: {e}", exe.display()));
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().expect("stdout is piped");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let Ok(line) = line else { return };
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        GoProc { child, stdin, lines, seen: Vec::new(), name: exe.display().to_string() }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The lines read so far.
    pub fn seen(&self) -> &[String] {
        &self.seen
    }

    /// Waits for a line that starts with `word` and gives what stands behind it.
    ///
    /// Panics if the program ends first, reports a failed check, or stays silent for two minutes.
    pub fn wait_for(&mut self, word: &str) -> String {
        let end = Instant::now() + LINE_TIMEOUT;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    assert!(
                        !line.starts_with("FAILED"),
                        "{}: a check of its own failed: {line}",
                        self.name
                    );
                    self.seen.push(line.clone());
                    if let Some(rest) = line.strip_prefix(word) {
                        return rest.trim().to_owned();
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    panic!("{}: no line `{word}` in time; it said {:?}", self.name, self.seen)
                }
                Err(RecvTimeoutError::Disconnected) => panic!(
                    "{}: ended before it said `{word}`: {:?}; it said {:?}",
                    self.name,
                    self.child.wait(),
                    self.seen
                ),
            }
        }
    }

    /// Sends a command line.
    pub fn tell(&mut self, command: &str) {
        let stdin = self.stdin.as_mut().expect("the program was told to end already");
        writeln!(stdin, "{command}").and_then(|()| stdin.flush()).unwrap_or_else(|e| {
            panic!("{}: does not take the command `{command}`: {e}", self.name)
        });
    }

    /// Sends a command and waits for the line that answers it.
    pub fn ask(&mut self, command: &str, answer: &str) -> String {
        self.tell(command);
        self.wait_for(answer)
    }

    /// Whether it runs.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Fails the test if the program is gone.
    pub fn assert_alive(&mut self) {
        if let Ok(Some(status)) = self.child.try_wait() {
            panic!("{}: died: {status}; it said {:?}", self.name, self.seen);
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: i32) {
        let pid = libc::pid_t::try_from(self.child.id()).expect("a pid fits");
        // SAFETY: kill takes two integers; the child has not been waited for, so the pid is its.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0, "{}: cannot be signalled", self.name);
    }

    /// Lets the program end by closing its input, and gives all lines it printed. Fails the test if it
    /// ends with an error or if a check of its own failed.
    pub fn finish(mut self) -> Vec<String> {
        drop(self.stdin.take());
        let end = Instant::now() + LINE_TIMEOUT;
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("{}: does not end", self.name),
            }
        }
        let status = self.child.wait().expect("a child can be waited for");
        assert!(status.success(), "{}: {status}; it said {:?}", self.name, self.seen);
        let failed: Vec<_> = self.seen.iter().filter(|l| l.starts_with("FAILED")).collect();
        assert!(failed.is_empty(), "{}: checks of its own failed: {failed:?}", self.name);
        std::mem::take(&mut self.seen)
    }

    /// Fetches a page from the program's own HTTP server. `address` is what it printed: `127.0.0.1:port`.
    pub fn http_get(address: &str, path: &str) -> String {
        http_get(address, path).unwrap_or_else(|e| panic!("GET {address}{path}: {e}"))
    }
}

impl Drop for GoProc {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One request, HTTP/1.0: the server closes the connection at the end, so there is no length and no chunk to parse.
///
/// # Errors
/// If there is no answer, or one that is not 200.
pub fn http_get(address: &str, path: &str) -> Result<String, String> {
    let mut stream = TcpStream::connect(address).map_err(|e| e.to_string())?;
    stream.set_read_timeout(Some(LINE_TIMEOUT)).map_err(|e| e.to_string())?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").map_err(|e| e.to_string())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(|e| e.to_string())?;
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text.split_once("\r\n\r\n").ok_or("the answer has no end of header")?;
    let status = head.lines().next().unwrap_or_default();
    if status.split_whitespace().nth(1) == Some("200") {
        Ok(body.to_owned())
    } else {
        Err(format!("the server says {status}"))
    }
}

/// CLOCK_MONOTONIC in ns: the clock the workloads print and loiter measures by.
pub fn monotonic() -> i64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one timespec.
    let done = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    assert_eq!(done, 0);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}
