//! The real `loiter` binary under test, as a user runs it: lines of JSON on stdout, messages on stderr.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longest wait for something loiter is to say.
const TIMEOUT: Duration = Duration::from_secs(120);

/// What `loiter` said on either stream.
enum Said {
    Out(String),
    Err(String),
}

/// A running `loiter`; killed when dropped.
pub struct Loiter {
    child: Child,
    said: Receiver<Said>,
    /// JSON lines of stdout so far.
    pub lines: Vec<Value>,
    /// Lines of stderr so far.
    pub messages: Vec<String>,
}

/// The binary.
pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loiter"));
    command.args(args).stdin(Stdio::null());
    command
}

/// Runs `loiter` to its end.
pub fn run(args: &[&str]) -> Output {
    command(args).output().expect("loiter can be started")
}

/// Runs `loiter` to its end and reads stdout as one JSON value; panics with its messages on failure.
pub fn run_json(args: &[&str]) -> Value {
    let output = run(args);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| {
        panic!("loiter {args:?}: {e}: {}", String::from_utf8_lossy(&output.stderr))
    })
}

impl Loiter {
    /// Starts `loiter` with arguments that make it print JSON lines.
    pub fn start(args: &[&str]) -> Loiter {
        Loiter::spawn(command(args))
    }

    /// Starts a command that prints JSON lines as `loiter` does.
    pub fn spawn(mut command: Command) -> Loiter {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("loiter can be started");
        let (sender, said) = channel();
        let out = child.stdout.take().expect("stdout is piped");
        let err = child.stderr.take().expect("stderr is piped");
        let other = sender.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if sender.send(Said::Out(line)).is_err() {
                    return;
                }
            }
        });
        std::thread::spawn(move || {
            for line in BufReader::new(err).lines().map_while(Result::ok) {
                if other.send(Said::Err(line)).is_err() {
                    return;
                }
            }
        });
        Loiter { child, said, lines: Vec::new(), messages: Vec::new() }
    }

    /// Starts `loiter watch` on a process and waits until it watches. Unless they say what it may
    /// cost, tests want all that they ask for: unoptimised code on a busy machine costs more.
    pub fn watch(pid: u32, args: &[&str]) -> Loiter {
        let pid = pid.to_string();
        let mut all = vec!["watch", &pid, "--format", "jsonl"];
        all.extend(args);
        if !args.contains(&"--budget") {
            all.extend(["--budget", "off"]);
        }
        let mut loiter = Loiter::start(&all);
        loiter.wait_message("watching");
        loiter
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn next(&mut self, end: Instant) -> Option<()> {
        match self.said.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(said) => {
                self.keep(said);
                Some(())
            }
            Err(RecvTimeoutError::Timeout) => {
                panic!("loiter stays silent; it said {:?} {:?}", self.lines, self.messages)
            }
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }

    fn keep(&mut self, said: Said) {
        match said {
            Said::Out(line) => {
                let value = serde_json::from_str(&line)
                    .unwrap_or_else(|e| panic!("loiter printed no JSON: {e}: {line}"));
                self.lines.push(value);
            }
            Said::Err(line) => self.messages.push(line),
        }
    }

    /// Waits for a message that contains a word.
    pub fn wait_message(&mut self, word: &str) -> String {
        self.wait_message_after(0, word)
    }

    /// How many messages have come by now.
    pub fn messages_so_far(&mut self) -> usize {
        while let Ok(said) = self.said.try_recv() {
            self.keep(said);
        }
        self.messages.len()
    }

    /// Waits for a message that contains a word, beyond those that were there already.
    pub fn wait_message_after(&mut self, mut at: usize, word: &str) -> String {
        let end = Instant::now() + TIMEOUT;
        loop {
            while let Some(message) = self.messages.get(at) {
                if message.contains(word) {
                    return message.clone();
                }
                at += 1;
            }
            assert!(
                self.next(end).is_some(),
                "loiter ended before it said `{word}`: {:?} {:?}",
                self.lines,
                self.messages
            );
        }
    }

    /// Waits for a JSON line that fits.
    pub fn wait_line(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        self.wait_line_after(0, what, fits)
    }

    /// Waits for a JSON line that fits, beyond those that were read already.
    pub fn wait_line_after(
        &mut self,
        mut at: usize,
        what: &str,
        fits: impl Fn(&Value) -> bool,
    ) -> Value {
        let end = Instant::now() + TIMEOUT;
        loop {
            while let Some(line) = self.lines.get(at) {
                if fits(line) {
                    return line.clone();
                }
                at += 1;
            }
            assert!(
                self.next(end).is_some(),
                "loiter ended before {what}: {:?} {:?}",
                self.lines,
                self.messages
            );
        }
    }

    /// Waits until there are more JSON lines than this; false if there are none by `end`.
    pub fn more_lines(&mut self, than: usize, end: Instant) -> bool {
        while self.lines.len() <= than {
            match self.said.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(said) => self.keep(said),
                Err(_) => return false,
            }
        }
        true
    }

    /// Sends a signal.
    pub fn signal(&self, signal: i32) {
        let pid = libc::pid_t::try_from(self.child.id()).expect("a pid fits");
        // SAFETY: kill takes two integers; the child has not been waited for, so the pid is its.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
    }

    /// Lets it end by itself; gives the exit code and the summary line.
    pub fn end(self) -> (i32, Value, Vec<Value>) {
        self.end_within(Duration::ZERO)
    }

    /// As [`Loiter::end`], of a watch that goes on for so long.
    pub fn end_within(mut self, time: Duration) -> (i32, Value, Vec<Value>) {
        let end = Instant::now() + time + TIMEOUT;
        while self.next(end).is_some() {}
        let status = self.child.wait().expect("a child can be waited for");
        let summary = self
            .lines
            .iter()
            .rfind(|l| l["schema"] == "loiter.summary/1")
            .unwrap_or_else(|| panic!("no summary: {:?} {:?}", self.lines, self.messages))
            .clone();
        (status.code().unwrap_or(-1), summary, std::mem::take(&mut self.lines))
    }

    /// Ends it as Ctrl-C does.
    pub fn interrupt(self) -> (i32, Value, Vec<Value>) {
        self.signal(libc::SIGINT);
        self.end()
    }
}

impl Drop for Loiter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
