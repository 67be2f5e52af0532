//! `loiter.ps/1`: the processes that can be traced. May use: view.

use std::io::{self, Write};

use super::parts::Moment;
use super::safe::write_line;
use crate::stream::PodInfo;
use crate::view::ps::{PsRow, PsView, Support};

#[derive(serde::Serialize)]
struct Ps<'a> {
    schema: &'static str,
    examined: u64,
    denied: u64,
    processes: Vec<Row<'a>>,
}

#[derive(serde::Serialize)]
struct Row<'a> {
    pid: u32,
    runtime: &'a str,
    runtime_version: &'a str,
    support: &'static str,
    support_reason: Option<&'a str>,
    tasks: Option<u64>,
    started: Option<Moment>,
    container: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<&'a PodInfo>,
    exe: &'a str,
    package: Option<&'a str>,
    traits: &'a [String],
}

impl<'a> Row<'a> {
    fn new(r: &'a PsRow) -> Self {
        Self {
            pid: r.pid,
            runtime: &r.runtime,
            runtime_version: &r.runtime_version,
            support: r.support.word(),
            support_reason: match &r.support {
                Support::Full => None,
                Support::Degraded(why) | Support::None(why) => Some(why),
            },
            tasks: r.tasks,
            started: r.started.map(Moment),
            container: r.container.as_deref(),
            pod: r.pod.as_ref(),
            exe: &r.exe,
            package: r.package.as_deref(),
            traits: &r.traits,
        }
    }
}

/// Writes the processes on one line.
///
/// # Errors
/// The writer's.
pub fn write_ps(out: &mut dyn Write, view: &PsView) -> io::Result<()> {
    let ps = Ps {
        schema: "loiter.ps/1",
        examined: view.examined,
        denied: view.denied,
        processes: view.rows.iter().map(Row::new).collect(),
    };
    write_line(out, &ps)
}
