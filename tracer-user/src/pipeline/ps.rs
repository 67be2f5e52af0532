//! `ps`: which processes can be traced.

use anyhow::Context as _;

use crate::base::{Pid, ProcId};
use crate::runtime::go::snapshot::Snapshotter;
use crate::runtime::go::{DetectError, Detector, GoProgram, HostedAs, locate};
use crate::symbolize::SharedInterner;
use crate::target::{LiveMem, Maps, ReadMem as _, TargetError, list};
use crate::view::WallTime;
use crate::view::ps::{PsRow, PsView, Support};

use super::clock;
use super::open::native;
use super::settings::PsSettings;
use super::whereabouts;

/// Lists the processes that have tasks that can be read: goroutines, or else threads.
///
/// # Errors
/// If `/proc` cannot be listed, or one of the PIDs asked for does not exist.
pub fn ps(settings: &PsSettings) -> anyhow::Result<PsView> {
    let asked = !settings.pids.is_empty();
    let pids = if asked { settings.pids.clone() } else { list().context("cannot list /proc")? };
    let mut detector = Detector::new();
    let mut view = PsView { rows: Vec::new(), denied: 0, examined: 0 };
    for pid in pids {
        view.examined += 1;
        match detector.detect(pid) {
            Ok(program) => view.rows.push(row(&program)),
            Err(DetectError::Target(TargetError::Denied { .. })) if !asked => view.denied += 1,
            Err(error @ DetectError::Target(_)) if asked => return Err(error.into()),
            Err(DetectError::NotGo { exe, .. }) => view.rows.extend(native_row(pid, &exe)),
            Err(error) => view.rows.extend(refused(pid, &error, asked)),
        }
    }
    Ok(view)
}

fn row(program: &GoProgram) -> PsRow {
    let pid = program.stat.pid;
    let tasks = tasks(program);
    let support = match (&tasks, program.degraded.first()) {
        (Err(why), _) => Support::None(format!("{why:#}")),
        (Ok(_), Some(why)) => Support::Degraded(why.to_string()),
        (Ok(_), None) => Support::Full,
    };
    let (container, pod) = whereabouts::named(pid);
    PsRow {
        pid: pid.0,
        runtime: "go".to_owned(),
        runtime_version: program.version.to_string(),
        support,
        tasks: tasks.ok(),
        started: started(program.stat.start_ticks),
        container: container.map(Into::into),
        pod,
        exe: program.path.to_string_lossy().into_owned(),
        package: program.build.path.as_deref().map(str::to_owned),
        traits: traits(program),
    }
}

/// A process whose tasks are its threads; None if it ended meanwhile.
fn native_row(pid: Pid, exe: &str) -> Option<PsRow> {
    let stat = crate::target::stat(pid).ok().filter(|stat| !stat.has_exited())?;
    let readable = LiveMem::open(pid).map_err(anyhow::Error::from).and_then(|mem| {
        let maps = Maps::of(pid)?;
        let any = maps.iter().find(|m| m.perms.read && m.file.is_some());
        any.map_or(Ok(()), |m| mem.read(m.start, &mut [0]).map_err(anyhow::Error::from))
    });
    let (container, pod) = whereabouts::named(pid);
    Some(PsRow {
        pid: pid.0,
        runtime: native::RUNTIME.to_owned(),
        runtime_version: String::new(),
        support: match readable {
            Ok(()) => Support::Full,
            Err(why) => Support::None(format!("{why:#}")),
        },
        tasks: Some(stat.threads),
        started: started(stat.start_ticks),
        container: container.map(Into::into),
        pod,
        exe: exe.to_owned(),
        package: None,
        traits: Vec::new(),
    })
}

fn tasks(program: &GoProgram) -> anyhow::Result<u64> {
    let mem = LiveMem::open(program.stat.pid)?;
    let located = locate(&mem, program)?;
    let mut snapshotter = Snapshotter::new(ProcId(1), program.stat.pid, located);
    Ok(snapshotter.count(&mem, &SharedInterner::default())?)
}

/// A Go process that cannot be traced is shown with the reason; one that is not Go only where it was asked for.
fn refused(pid: Pid, error: &DetectError, asked: bool) -> Option<PsRow> {
    let (exe, go) = match error {
        DetectError::Target(_) => return None,
        DetectError::NotGo { exe, .. } | DetectError::Format { exe, .. } => (exe, false),
        DetectError::Packed { exe, .. }
        | DetectError::Version { exe, .. }
        | DetectError::BuildInfo { exe, .. }
        | DetectError::NotMapped { exe, .. } => (exe, true),
    };
    let (container, pod) = whereabouts::named(pid);
    (go || asked).then(|| PsRow {
        pid: pid.0,
        runtime: if go { "go" } else { "" }.to_owned(),
        runtime_version: String::new(),
        support: Support::None(error.to_string()),
        tasks: None,
        started: crate::target::stat(pid).ok().and_then(|stat| started(stat.start_ticks)),
        container: container.map(Into::into),
        pod,
        exe: exe.to_string(),
        package: None,
        traits: Vec::new(),
    })
}

/// Start time on the wall clock. The ticks count from boot; CLOCK_BOOTTIME has no tie to a wall
/// clock that was set since, so it is set against the present moment.
fn started(start_ticks: u64) -> Option<WallTime> {
    let hertz = rustix::param::clock_ticks_per_second();
    let since_boot =
        u128::from(start_ticks).checked_mul(1_000_000_000)?.checked_div(hertz.into())?;
    let (boot_now, wall_now) = clock::boot_and_wall();
    let age = i128::from(boot_now.0).checked_sub(i128::try_from(since_boot).ok()?)?;
    Some(WallTime(i64::try_from(i128::from(wall_now).checked_sub(age)?).ok()?))
}

/// Build mode and such, in short words.
fn traits(program: &GoProgram) -> Vec<String> {
    let setting = |key: &str| {
        let found = program.build.settings.iter().find(|(k, _)| &**k == key);
        found.map(|(_, value)| &**value)
    };
    let mode = match program.hosted_as {
        HostedAs::SharedObject => Some("c-shared"),
        HostedAs::Executable => setting("-buildmode").filter(|mode| *mode != "exe"),
    };
    let flags = [
        (setting("CGO_ENABLED") == Some("1"), "cgo"),
        (setting("-race") == Some("true"), "race"),
        (setting("-pgo").is_some(), "pgo"),
        (program.image.section(".symtab").is_none(), "stripped"),
    ];
    let flags = flags.into_iter().filter(|(is, _)| *is).map(|(_, word)| word);
    mode.into_iter().chain(flags).map(str::to_owned).collect()
}
