//! `loiter.summary/1`: the last line of a watch or diagnosis. May use: view.

use std::io::{self, Write};

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::parts::{Moment, Process, Site};
use super::safe::write_line;
use crate::base::Nanos;
use crate::stream::{LossKind, Mode};
use crate::view::delivery::DeliveryView;
use crate::view::{AcknowledgedView, CostView, SummaryView, ThreadWaitsView};

#[derive(serde::Serialize)]
struct Summary<'a> {
    schema: &'static str,
    process: Process<'a>,
    mode: &'static str,
    modes: Modes<'a>,
    cost: Option<Cost>,
    ended: &'a str,
    ended_at: Moment,
    watched_ns: u64,
    looks: u32,
    births: Option<u64>,
    deaths: Option<u64>,
    alive: u64,
    lost: Lost<'a>,
    findings: u64,
    findings_by_confidence: Counts,
    acknowledged: Vec<Acknowledged<'a>>,
    idle: Vec<Idle<'a>>,
    spawn_sites: Vec<SpawnSite<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    thread_waits: Vec<ThreadWaits<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    deliveries: Vec<Delivery>,
}

#[derive(serde::Serialize)]
struct Delivery {
    to: &'static str,
    sent: u64,
    failed: u64,
    dropped: u64,
}

impl Delivery {
    const fn new(view: &DeliveryView) -> Self {
        let DeliveryView { to, sent, failed, dropped } = *view;
        Self { to: to.word(), sent, failed, dropped }
    }
}

#[derive(serde::Serialize)]
struct ThreadWaits<'a> {
    reason: &'a str,
    subject: Option<Subject>,
    count: u64,
    total_ns: u64,
    lengths: Vec<Length>,
}

#[derive(serde::Serialize)]
struct Subject {
    kind: &'static str,
    value: String,
}

#[derive(serde::Serialize)]
struct Length {
    below_ns: Option<u64>,
    count: u64,
}

impl<'a> ThreadWaits<'a> {
    fn new(waits: &'a ThreadWaitsView) -> Self {
        let subject = waits.subject.map(|(kind, value)| {
            let value = if kind == "futex" { format!("{value:#x}") } else { value.to_string() };
            Subject { kind, value }
        });
        let length = |&(below, count): &(Nanos, u64)| Length {
            below_ns: (below.0 != u64::MAX).then_some(below.0),
            count,
        };
        Self {
            reason: &waits.reason,
            subject,
            count: waits.count,
            total_ns: waits.total.0,
            lengths: waits.lengths.iter().map(length).collect(),
        }
    }
}

/// Every kind is there, also with 0, so that a reader need not know which ones exist.
struct Lost<'a>(&'a [(LossKind, u64)]);

impl Serialize for Lost<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(Some(LossKind::ALL.len()))?;
        for kind in LossKind::ALL {
            let n = self
                .0
                .iter()
                .filter(|(k, _)| *k == kind)
                .fold(0u64, |sum, (_, n)| sum.saturating_add(*n));
            map.serialize_entry(kind.word(), &n)?;
        }
        map.end()
    }
}

/// Every mode is there, also one that never was.
struct Modes<'a>(&'a [(Mode, Nanos)]);

impl Serialize for Modes<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(Some(Mode::ALL.len()))?;
        for mode in Mode::ALL {
            let time = self.0.iter().find(|(m, _)| *m == mode).map_or(0, |(_, time)| time.0);
            map.serialize_entry(mode.word(), &time)?;
        }
        map.end()
    }
}

#[derive(serde::Serialize)]
struct Cost {
    budget: f64,
    over_ns: u64,
    hits: u64,
    probes_ns: u64,
    loiter_ns: u64,
    target_ns: u64,
    changes: u32,
}

impl Cost {
    const fn new(c: &CostView) -> Self {
        Self {
            budget: c.budget,
            over_ns: c.over.0,
            hits: c.hits,
            probes_ns: c.probes.0,
            loiter_ns: c.loiter.0,
            target_ns: c.target.0,
            changes: c.changes,
        }
    }
}

#[derive(serde::Serialize)]
struct Counts {
    suspect: u64,
    likely: u64,
    certain: u64,
}

#[derive(serde::Serialize)]
struct Acknowledged<'a> {
    finding_id: &'a str,
    kind: &'static str,
    count: u64,
    wait_site: Option<Site<'a>>,
    owner: &'a str,
    until: &'a str,
    note: &'a str,
}

impl<'a> Acknowledged<'a> {
    fn new(a: &'a AcknowledgedView) -> Self {
        let by = &a.acknowledgement;
        Self {
            finding_id: &by.id,
            kind: a.kind.word(),
            count: a.count,
            wait_site: Site::of(&a.wait_site),
            owner: &by.owner,
            until: &by.until,
            note: &by.note,
        }
    }
}

#[derive(serde::Serialize)]
struct Idle<'a> {
    name: &'a str,
    why: &'a str,
    count: u64,
}

#[derive(serde::Serialize)]
struct SpawnSite<'a> {
    #[serde(flatten)]
    site: Site<'a>,
    births: u64,
    deaths: u64,
    alive: u64,
}

/// Writes the summary on one line.
///
/// # Errors
/// The writer's.
pub fn write_summary(out: &mut dyn Write, s: &SummaryView) -> io::Result<()> {
    let summary = Summary {
        schema: "loiter.summary/1",
        process: Process::new(&s.process),
        mode: s.mode.word(),
        modes: Modes(&s.modes),
        cost: s.cost.as_ref().map(Cost::new),
        ended: &s.ended,
        ended_at: Moment(s.ended_at),
        watched_ns: s.watched.0,
        looks: s.looks,
        births: s.births,
        deaths: s.deaths,
        alive: s.alive,
        lost: Lost(&s.lost),
        findings: s.findings.all(),
        findings_by_confidence: Counts {
            suspect: s.findings.suspect,
            likely: s.findings.likely,
            certain: s.findings.certain,
        },
        acknowledged: s.acknowledged.iter().map(Acknowledged::new).collect(),
        idle: s.idle.iter().map(|i| Idle { name: &i.name, why: &i.why, count: i.count }).collect(),
        spawn_sites: s
            .spawn_sites
            .iter()
            .map(|x| SpawnSite {
                site: Site::new(&x.site),
                births: x.births,
                deaths: x.deaths,
                alive: x.alive,
            })
            .collect(),
        thread_waits: s.thread_waits.iter().map(ThreadWaits::new).collect(),
        deliveries: s.deliveries.iter().map(Delivery::new).collect(),
    };
    write_line(out, &summary)
}
