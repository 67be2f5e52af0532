//! The id of a finding: equal for equal findings of the same program, whichever run, process,
//! address, time or count. It also survives a rebuild as long as the lines stay where they are:
//! who has silenced or filed a finding does not meet it as new after each deployment.
//!
//! It names the place, not the kind. Which detector speaks of a place first depends on when the
//! tracer came and on what it was allowed to see: the same leak may be a crowd to one run and growth to
//! the next, and turns from one into the other while it is watched. Only tasks that wait, that
//! run and that are not let run are different things at one place.

use xxhash_rust::xxh3::Xxh3Default;

use crate::base::FrameId;
use crate::model::{GroupKey, Model, Process};

use super::FindingKind;

/// What is wrong with the tasks: they do not run, they do nothing else, or they are not let.
const fn family(kind: FindingKind) -> &'static str {
    match kind {
        FindingKind::Stuck
        | FindingKind::Crowd
        | FindingKind::Leak
        | FindingKind::Growth
        | FindingKind::BlockedForEver
        | FindingKind::LockHeld
        | FindingKind::PoolBlocked
        | FindingKind::LostWakeup => "waits",
        FindingKind::Deadlock => "deadlock",
        FindingKind::Hog => "runs",
        FindingKind::Starved => "starves",
    }
}

/// Hashes family, program, spawn site, wait site and reason: 16 hex digits.
pub(super) fn finding_id(
    model: &Model,
    process: &Process,
    kind: FindingKind,
    key: GroupKey,
) -> Box<str> {
    let mut hash = Xxh3Default::new();
    // A text and a separator no text holds, so that no two lists of texts run together.
    let mut add = |text: &str| {
        hash.update(text.as_bytes());
        hash.update(&[0xff]);
    };
    add(family(kind));
    add(program(process));
    for site in [key.spawn_site, key.wait_site] {
        add_site(model, site, &mut add);
    }
    add(model.names().reason(key.reason).map_or("", |r| &r.word));
    format!("{:016x}", hash.digest()).into()
}

/// The id of the nth of several findings that stand for themselves at one place; the first has the place's.
pub(super) fn nth_of_place(id: &str, number: usize) -> Box<str> {
    if number == 0 {
        return id.into();
    }
    let mut hash = Xxh3Default::new();
    hash.update(id.as_bytes());
    hash.update(&(number as u64).to_le_bytes());
    format!("{:016x}", hash.digest()).into()
}

fn add_site(model: &Model, site: FrameId, add: &mut impl FnMut(&str)) {
    match model.names().frame(site) {
        Some(frame) => {
            add(&frame.function);
            add(&frame.file);
            add(&frame.line.to_string());
        }
        None => add(""),
    }
}

/// What names the program: its main package, else its module, else the name of its file.
fn program(process: &Process) -> &str {
    let def = process.def();
    let file = def.exe.rsplit('/').next().unwrap_or(&def.exe);
    def.build.path.as_deref().or(def.build.module.as_deref()).unwrap_or(file)
}
