//! Whether a process is still the one that was examined, running the image that was examined.

use std::fs;

use crate::base::Pid;
use crate::target::stat;

/// Longest auxiliary vector read; Linux has some 20 entries of 16 bytes.
const MOST_BYTES: usize = 4096;

/// One image of one process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    pid: Pid,
    start_ticks: u64,
    /// The auxiliary vector: exec makes a new one, and the addresses in it are random, so that
    /// also a program that executes itself is told apart (not where randomisation is off).
    auxv: Vec<u8>,
}

/// What became of an image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It runs.
    Same,
    /// The process has another image now.
    Replaced,
    /// The process is gone, or its PID is another's.
    Gone,
}

impl Identity {
    /// Of the image that the process runs now.
    pub fn of(pid: Pid, start_ticks: u64) -> Self {
        Self { pid, start_ticks, auxv: auxv(pid) }
    }

    /// What became of it.
    pub fn fate(&self) -> Fate {
        match stat(self.pid) {
            Ok(now) if now.start_ticks == self.start_ticks && !now.has_exited() => {
                let auxv = auxv(self.pid);
                if auxv.is_empty() || auxv == self.auxv { Fate::Same } else { Fate::Replaced }
            }
            _ => Fate::Gone,
        }
    }
}

/// Empty where it cannot be read.
fn auxv(pid: Pid) -> Vec<u8> {
    let mut bytes = fs::read(format!("/proc/{pid}/auxv")).unwrap_or_default();
    bytes.truncate(MOST_BYTES);
    bytes
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};

    use super::*;

    #[test]
    fn exec_and_exit_are_told_apart_from_a_process_that_goes_on() {
        let mut child = std::process::Command::new("sh")
            .args(["-c", "echo runs; read line; exec sleep 1000"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let pid = Pid(child.id());
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let identity = Identity::of(pid, stat(pid).unwrap().start_ticks);
        assert_eq!(identity.fate(), Fate::Same);
        drop(child.stdin.take());
        while identity.fate() == Fate::Same {
            std::thread::yield_now();
        }
        assert_eq!(identity.fate(), Fate::Replaced);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(identity.fate(), Fate::Gone);
    }
}
