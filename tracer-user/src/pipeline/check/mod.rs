//! `check`: runs a program, holds it where it ends, looks at what it leaves behind, lets it go.

mod examine;
mod tests_of;

use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::Context as _;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{WaitOptions, WaitStatus, pidfd_send_signal, waitpid};

use super::settings::CheckSettings;
use crate::base::Pid;
use crate::target::gate::{Ending, Guardian, Launched, Listener, Signalled, Signals, launch};
use crate::target::{PidFd, is_thread_of};
use crate::view::check::{CheckView, ProgramEnd, Verdict};

use examine::Examination;

/// Runs a program to its end, and tells what it left behind.
///
/// # Errors
/// If it cannot be started, or its end cannot be held.
pub fn check(settings: &CheckSettings) -> anyhow::Result<CheckView> {
    let signals = Signals::take().context("cannot take over signals")?;
    let Launched { pid, listener } = launch(&settings.command, &signals)?;
    // Before anything starts a thread.
    let _guardian = Guardian::start(&listener).context("cannot start a guardian process")?;
    let exit = PidFd::open(pid)?;
    let run = Run { settings, pid, exit, listener, signals, stage: Stage::Runs };
    run.serve()
}

/// How far the program is.
enum Stage {
    Runs,
    /// All its threads that want to end it: it ends with the first that is let go.
    Held {
        endings: Vec<Ending>,
        held: Held,
    },
    LetGo(Verdict),
}

/// The look at a program that is held.
struct Held {
    /// Closed by the thread at its end.
    done: UnixStream,
    in_haste: Arc<AtomicBool>,
    thread: JoinHandle<Verdict>,
}

struct Run<'a> {
    settings: &'a CheckSettings,
    pid: Pid,
    exit: PidFd,
    listener: Listener,
    signals: Signals,
    stage: Stage,
}

/// What is ready.
#[derive(Default)]
struct Ready {
    listener: bool,
    exit: bool,
    signals: bool,
    looked: bool,
}

impl Run<'_> {
    fn serve(mut self) -> anyhow::Result<CheckView> {
        loop {
            let ready = self.wait()?;
            if ready.signals {
                self.pass_signals_on()?;
            }
            if ready.looked {
                self.let_go()?;
            }
            if ready.listener {
                self.hear()?;
            }
            if ready.exit {
                return self.finish();
            }
        }
    }

    fn wait(&self) -> anyhow::Result<Ready> {
        let mut fds = vec![
            PollFd::new(&self.listener, PollFlags::IN),
            PollFd::new(&self.exit, PollFlags::IN),
            PollFd::new(&self.signals, PollFlags::IN),
        ];
        if let Stage::Held { held, .. } = &self.stage {
            fds.push(PollFd::new(&held.done, PollFlags::IN));
        }
        // Once nobody is behind the filter the listener is always ready, and of no interest.
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).context("cannot wait for the program"),
        }
        let is = |at: usize, what: PollFlags| {
            fds.get(at).is_some_and(|fd| fd.revents().intersects(what))
        };
        Ok(Ready {
            listener: is(0, PollFlags::IN),
            exit: is(1, PollFlags::IN),
            signals: is(2, PollFlags::IN),
            looked: is(3, PollFlags::IN | PollFlags::HUP),
        })
    }

    /// Somebody wants to end: the program, or something it has started.
    fn hear(&mut self) -> anyhow::Result<()> {
        let told = self.listener.next().context("cannot hear of the program's end")?;
        let Some(ending) = told else { return Ok(()) };
        let is_ours = is_thread_of(self.pid, ending.thread);
        match &mut self.stage {
            Stage::Runs if is_ours => self.hold(ending),
            Stage::Held { endings, .. } if is_ours => {
                // Before Linux 5.19 a signal has the call made anew, under another id.
                endings.retain(|earlier| earlier.thread != ending.thread);
                endings.push(ending);
                Ok(())
            }
            _ => self.listener.let_go(ending).context("cannot let a process end"),
        }
    }

    fn hold(&mut self, ending: Ending) -> anyhow::Result<()> {
        let (done, at_end) = UnixStream::pair().context("cannot make a socket")?;
        let in_haste = Arc::new(AtomicBool::new(false));
        let examination = Examination::new(self.settings, self.pid, ending, Arc::clone(&in_haste));
        let thread = std::thread::Builder::new()
            .name("examine".to_owned())
            .spawn(move || {
                let verdict = examination.run();
                drop(at_end);
                verdict
            })
            .context("cannot start the thread that looks")?;
        self.stage = Stage::Held { endings: vec![ending], held: Held { done, in_haste, thread } };
        Ok(())
    }

    /// It has been looked at.
    fn let_go(&mut self) -> anyhow::Result<()> {
        let stage = std::mem::replace(&mut self.stage, Stage::Runs);
        let Stage::Held { endings, held } = stage else {
            self.stage = stage;
            return Ok(());
        };
        let verdict = held.thread.join().unwrap_or_else(|_| {
            Verdict::Unreadable("the thread that looks has ended early".to_owned())
        });
        self.stage = Stage::LetGo(verdict);
        let mut endings = endings.into_iter();
        endings
            .try_for_each(|ending| self.listener.let_go(ending))
            .context("cannot let the program end")
    }

    fn pass_signals_on(&mut self) -> anyhow::Result<()> {
        while let Some(Signalled { signal, to_pass_on }) =
            self.signals.next().context("cannot take a signal")?
        {
            if to_pass_on {
                // It may have ended meanwhile.
                let _gone = pidfd_send_signal(self.exit.as_fd(), signal);
            }
            if let Stage::Held { held, .. } = &self.stage {
                held.in_haste.store(true, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// It has ended.
    fn finish(mut self) -> anyhow::Result<CheckView> {
        self.let_go()?;
        let end = wait_for(self.pid)?;
        let verdict = match (end, self.stage) {
            (ProgramEnd::Killed(_), _) => Verdict::Killed,
            (ProgramEnd::Exited(_), Stage::LetGo(verdict)) => verdict,
            (ProgramEnd::Exited(_), _) => Verdict::Unreadable(
                "it ended without the call that ends a process: its last thread ended by itself"
                    .to_owned(),
            ),
        };
        Ok(CheckView { end, verdict })
    }
}

fn wait_for(pid: Pid) -> anyhow::Result<ProgramEnd> {
    let raw = rustix::process::Pid::from_raw(pid.0.cast_signed());
    let status: WaitStatus = loop {
        match waitpid(raw, WaitOptions::empty()) {
            Ok(Some((_, status))) => break status,
            Ok(None) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).context("cannot learn how the program ended"),
        }
    };
    let code = status.exit_status().and_then(|code| u8::try_from(code).ok());
    Ok(match (code, status.terminating_signal()) {
        (Some(code), _) => ProgramEnd::Exited(code),
        (None, signal) => ProgramEnd::Killed(signal.unwrap_or_default()),
    })
}
