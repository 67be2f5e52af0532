//! Many programs at once, each with its watches.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::claims::Mode;
use crate::common::GoProc;
use crate::common::loiter::Loiter;
use crate::told::Said;

/// So many programs of a set are started at a time.
const STARTERS: usize = 4;

/// A program to be watched.
pub struct Watched {
    pub name: String,
    pub exe: PathBuf,
    pub args: Vec<String>,
    pub env: Vec<(&'static str, &'static str)>,
    pub modes: Vec<Mode>,
    /// It is to be told `go` once it is watched, and to `dump` at the end.
    pub obeys: bool,
    /// Further arguments of the watch.
    pub watch_args: &'static [&'static str],
    /// For how long it is watched.
    pub seconds: u64,
}

/// Attaching takes computing time, and a program is to be watched from its beginning on: one set is started at a time.
static START: Mutex<()> = Mutex::new(());

/// What came of one program.
pub struct Outcome {
    /// Its place in the list.
    pub program: usize,
    pub said: Vec<(Mode, Result<Said, String>)>,
    /// What it told at the end, if it obeys.
    pub own_dump: Vec<String>,
}

/// Starts all programs, watches each in its modes, and gives what came of each.
pub fn watch_all(programs: &[Watched]) -> Vec<Outcome> {
    let start_only = START.lock();
    let next = AtomicUsize::new(0);
    let running = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..STARTERS {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(program) = programs.get(index) else { return };
                    let started = start(program);
                    running.lock().unwrap().push((index, started));
                }
            });
        }
    });
    drop(start_only);
    let mut all: Vec<Outcome> = running
        .into_inner()
        .unwrap()
        .into_iter()
        .map(|(program, (process, watches))| {
            let time = Duration::from_secs(programs[program].seconds);
            let end = |(mode, watch): (Mode, Loiter)| (mode, Said::read(&watch.end_within(time).2));
            let said = watches.into_iter().map(end).collect();
            let own_dump = if programs[program].obeys { dump(process) } else { Vec::new() };
            Outcome { program, said, own_dump }
        })
        .collect();
    all.sort_by_key(|outcome| outcome.program);
    all
}

fn start(program: &Watched) -> (GoProc, Vec<(Mode, Loiter)>) {
    let args: Vec<&str> = program.args.iter().map(String::as_str).collect();
    let mut process = GoProc::start_with(&program.exe, &args, &program.env);
    process.wait_for("ready");
    let time = format!("{}s", program.seconds);
    let watch = |mode: &Mode| {
        let mut args = mode.args().to_vec();
        args.extend(["--for", &time]);
        args.extend(program.watch_args);
        (*mode, Loiter::watch(process.pid(), &args))
    };
    let watches = program.modes.iter().map(watch).collect();
    if program.obeys {
        process.tell("go");
    }
    (process, watches)
}

/// A program's own stacks; none if it has ended.
fn dump(mut process: GoProc) -> Vec<String> {
    if !process.is_alive() {
        return Vec::new();
    }
    process.ask("dump", "end of dump");
    process.seen().to_vec()
}
