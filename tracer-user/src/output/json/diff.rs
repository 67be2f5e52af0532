//! `loiter.diff/1`: two moments compared. May use: view.

use std::io::{self, Write};

use super::parts::Moment;
use super::safe::write_line;
use crate::view::diff::{DiffView, Lines, Population, Site};

#[derive(serde::Serialize)]
struct Diff<'a> {
    schema: &'static str,
    before: Side<'a>,
    after: Side<'a>,
    lines_compared: bool,
    changes: Vec<Changed<'a>>,
    unchanged: u64,
}

#[derive(serde::Serialize)]
struct Side<'a> {
    of: &'a str,
    exe: &'a str,
    build_id: Option<&'a str>,
    at: Option<Moment>,
    tasks: u64,
}

impl<'a> Side<'a> {
    fn new(p: &'a Population) -> Self {
        Self {
            of: &p.of,
            exe: &p.exe,
            build_id: p.build_id.as_deref(),
            at: p.at.map(Moment),
            tasks: p.count(),
        }
    }
}

#[derive(serde::Serialize)]
struct Changed<'a> {
    spawn_site: Option<Place<'a>>,
    wait_site: Option<Place<'a>>,
    doing: &'a str,
    before: u64,
    after: u64,
}

#[derive(serde::Serialize)]
struct Place<'a> {
    function: &'a str,
    file: Option<&'a str>,
    line: Option<u32>,
}

impl<'a> Place<'a> {
    fn of(site: &'a Option<Site>) -> Option<Self> {
        site.as_ref().map(|site| Self {
            function: &site.function,
            file: (!site.file.is_empty()).then_some(&*site.file),
            line: (site.line > 0).then_some(site.line),
        })
    }
}

/// Writes what came, went and grew.
///
/// # Errors
/// The writer's.
pub fn write_diff(out: &mut dyn Write, diff: &DiffView) -> io::Result<()> {
    let changes = diff
        .changes
        .iter()
        .map(|c| Changed {
            spawn_site: Place::of(&c.place.spawn_site),
            wait_site: Place::of(&c.place.wait_site),
            doing: &c.place.doing,
            before: c.before,
            after: c.after,
        })
        .collect();
    let diff = Diff {
        schema: "loiter.diff/1",
        before: Side::new(&diff.before),
        after: Side::new(&diff.after),
        lines_compared: diff.lines == Lines::Compared,
        changes,
        unchanged: diff.unchanged,
    };
    write_line(out, &diff)
}
