//! `loiter.doctor/1`: what this machine allows and what tracing a process would take and cost.
//! May use: view.

use std::io::{self, Write};

use super::parts::{Address, Process};
use super::safe::write_line;
use crate::base::Nanos;
use crate::stream::Mode;
use crate::view::doctor::{CheckState, CheckView, DoctorView, SiteView, TargetPlanView};

#[derive(serde::Serialize)]
struct Doctor<'a> {
    schema: &'static str,
    can_trace: bool,
    kernel: &'a str,
    machine: &'a str,
    surroundings: &'a [String],
    features: Vec<Check<'a>>,
    rights: Vec<Check<'a>>,
    target: Option<Target<'a>>,
}

#[derive(serde::Serialize)]
struct Check<'a> {
    name: &'a str,
    needed_for: &'a str,
    state: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    detail: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    instead: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    cause: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    remedy: &'a str,
}

impl<'a> Check<'a> {
    fn new(c: &'a CheckView) -> Self {
        let mut check = Check {
            name: &c.name,
            needed_for: &c.needed_for,
            state: c.state.word(),
            detail: "",
            instead: "",
            cause: "",
            remedy: "",
        };
        match &c.state {
            CheckState::Ok { detail } => check.detail = detail,
            CheckState::Without { instead, remedy } => {
                (check.instead, check.remedy) = (instead, remedy)
            }
            CheckState::Missing { cause, remedy } => (check.cause, check.remedy) = (cause, remedy),
        }
        check
    }
}

#[derive(serde::Serialize)]
struct Target<'a> {
    process: Process<'a>,
    tasks: Option<u64>,
    look_took_ns: Option<u64>,
    sites: Vec<Site<'a>>,
    degraded: Vec<Gap<'a>>,
    measured_ns: Option<u64>,
    cost: Vec<Cost>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sleeps: Option<Sleeps>,
}

#[derive(serde::Serialize)]
struct Sleeps {
    per_second: f64,
    measured_ns: u64,
    cost_per_sleep_ns: u64,
    cpus: f64,
}

#[derive(serde::Serialize)]
struct Site<'a> {
    kind: &'a str,
    mode: &'static str,
    function: &'a str,
    function_offset: Option<u64>,
    address: Address,
    file_offset: Address,
    instruction: &'a str,
    location: &'a str,
    why: &'a str,
    hits: Option<u64>,
    hits_per_second: Option<f64>,
    cost_per_hit_ns: u64,
    cpus: Option<f64>,
}

#[derive(serde::Serialize)]
struct Gap<'a> {
    kind: &'a str,
    reason: &'a str,
}

#[derive(serde::Serialize)]
struct Cost {
    mode: &'static str,
    hits_per_second: f64,
    cpus: f64,
}

fn site(s: &SiteView, measured: Option<Nanos>) -> Site<'_> {
    Site {
        kind: &s.kind,
        mode: s.mode.word(),
        function: &s.function,
        function_offset: s.function_offset,
        address: Address(s.address),
        file_offset: Address(s.file_offset),
        instruction: &s.instruction,
        location: &s.location,
        why: &s.why,
        hits: s.hits,
        hits_per_second: measured.and_then(|m| s.hits_per_second(m)),
        cost_per_hit_ns: s.cost_per_hit.0,
        cpus: measured.and_then(|m| s.cpus(m)),
    }
}

fn target(t: &TargetPlanView) -> Target<'_> {
    let cost = |mode: Mode| {
        let (hits_per_second, cpus) = t.cost(mode)?;
        Some(Cost { mode: mode.word(), hits_per_second, cpus })
    };
    Target {
        process: Process::new(&t.process),
        tasks: t.tasks,
        look_took_ns: t.look_took.map(|n| n.0),
        sites: t.sites.iter().map(|s| site(s, t.measured_for)).collect(),
        degraded: t.degraded.iter().map(|g| Gap { kind: &g.kind, reason: &g.reason }).collect(),
        measured_ns: t.measured_for.map(|n| n.0),
        cost: [Mode::None, Mode::Lifecycle, Mode::All].into_iter().filter_map(cost).collect(),
        sleeps: t.sleeps.map(|sleeps| Sleeps {
            per_second: sleeps.per_second,
            measured_ns: sleeps.measured_for.0,
            cost_per_sleep_ns: sleeps.cost_per_sleep.0,
            cpus: sleeps.cpus(),
        }),
    }
}

/// Writes the answer on one line.
///
/// # Errors
/// The writer's.
pub fn write_doctor(out: &mut dyn Write, view: &DoctorView) -> io::Result<()> {
    let doctor = Doctor {
        schema: "loiter.doctor/1",
        can_trace: view.can_trace(),
        kernel: &view.kernel,
        machine: &view.machine,
        surroundings: &view.surroundings,
        features: view.features.iter().map(Check::new).collect(),
        rights: view.rights.iter().map(Check::new).collect(),
        target: view.target.as_ref().map(target),
    };
    write_line(out, &doctor)
}
