//! Many programs at once, each with its watches.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::claims::Mode;
use crate::common::GoProc;
use crate::common::loiter::Loiter;
use crate::told::Said;

/// So many programs and watches are started at a time: attaching takes computing time, and a program is to be watched from its
/// beginning on.
const STARTERS: usize = 4;

/// A program to be watched.
pub struct Watched {
    pub name: String,
    pub exe: PathBuf,
    pub args: Vec<String>,
    pub env: Vec<(&'static str, &'static str)>,
    pub modes: Vec<Mode>,
}

/// Starts all programs, watches each in its modes for so long, and gives what was said: index of the program, mode, and the lines.
pub fn watch_all(programs: &[Watched], seconds: u64) -> Vec<(usize, Mode, Result<Said, String>)> {
    let next = AtomicUsize::new(0);
    let running = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..STARTERS {
            scope.spawn(|| {
                while let Some(program) = programs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let started = start(program, seconds);
                    running.lock().unwrap().push((program, started));
                }
            });
        }
    });
    let mut all = Vec::new();
    for (program, (process, watches)) in running.into_inner().unwrap() {
        let index = programs.iter().position(|one| std::ptr::eq(one, program)).unwrap();
        for (mode, watch) in watches {
            let (_, _, lines) = watch.end();
            all.push((index, mode, Said::read(&lines)));
        }
        drop(process);
    }
    all.sort_by_key(|(index, mode, _)| (*index, mode.word()));
    all
}

fn start(program: &Watched, seconds: u64) -> (GoProc, Vec<(Mode, Loiter)>) {
    let args: Vec<&str> = program.args.iter().map(String::as_str).collect();
    let mut process = GoProc::start_with(&program.exe, &args, &program.env);
    process.wait_for("ready");
    let time = format!("{}s", Duration::from_secs(seconds).as_secs());
    let watch = |mode: &Mode| {
        let args = ["--events", mode.word(), "--for", &time];
        (*mode, Loiter::watch(process.pid(), &args))
    };
    let watches = program.modes.iter().map(watch).collect();
    (process, watches)
}
