//! `loiter.finding/1`: a line for each time a finding is told. May use: view.

use std::io::{self, Write};

use super::parts::{Moment, Object, Process, Site, Stack, at_least, class, exact, word};
use super::safe::write_line;
use crate::output::Change;
use crate::output::text::{TextOptions, write_notice, write_notice_of};
use crate::stream::Mode;
use crate::view::watch::{Notice, WatchSink, Who};
use crate::view::{Climb, FindingView, SiteFate, SummaryView, TaskWait};

/// A process, as far as its name goes.
#[derive(serde::Serialize)]
struct Named<'a> {
    pid: u32,
    exe: &'a str,
}

/// One of many is watched.
#[derive(serde::Serialize)]
struct Watching<'a> {
    schema: &'static str,
    at: Moment,
    process: Named<'a>,
    runtime_version: &'a str,
    mode: &'static str,
    probes: u32,
    tasks: u64,
    took_ns: u64,
}

/// Other probes are on.
#[derive(serde::Serialize)]
struct ModeChange<'a> {
    schema: &'static str,
    at: Moment,
    #[serde(skip_serializing_if = "Option::is_none")]
    process: Option<Named<'a>>,
    mode: &'static str,
    why: &'a str,
    /// All events come for moments alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    sampled: Option<Sampled>,
}

#[derive(serde::Serialize)]
struct Sampled {
    for_ns: u64,
    every_ns: u64,
}

fn mode_change<'a>(notice: &'a Notice, process: Option<Named<'a>>) -> Option<ModeChange<'a>> {
    let (at, mode, why, sampled) = match notice {
        Notice::ModeChanged { at, mode, why } => (at, *mode, why, None),
        Notice::Sampled { at, moment, every, why } => {
            (at, Mode::All, why, Some(Sampled { for_ns: moment.0, every_ns: every.0 }))
        }
        _ => return None,
    };
    let (at, mode) = (Moment(*at), mode.word());
    Some(ModeChange { schema: "loiter.mode/1", at, process, mode, why, sampled })
}

#[derive(serde::Serialize)]
struct Finding<'a> {
    schema: &'static str,
    finding_id: &'a str,
    change: &'static str,
    at: Moment,
    first_seen: Moment,
    kind: &'static str,
    confidence: &'static str,
    process: Process<'a>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    tests: &'a [String],
    spawn_site: Option<Site<'a>>,
    wait_site: Option<Site<'a>>,
    wait_reason: Option<&'a str>,
    task_kind: &'static str,
    tasks: &'a [u64],
    count: u64,
    oldest_wait_ns: Option<u64>,
    advice: Option<Advice<'a>>,
    expired: Option<Expired<'a>>,
    evidence: Evidence<'a>,
}

#[derive(serde::Serialize)]
struct Advice<'a> {
    pattern: &'a str,
    text: &'a str,
    frame: Option<Site<'a>>,
}

#[derive(serde::Serialize)]
struct Expired<'a> {
    owner: &'a str,
    until: &'a str,
    note: &'a str,
}

#[derive(serde::Serialize)]
struct Label<'a> {
    key: &'a str,
    value: &'a str,
    tasks: u64,
}

#[derive(serde::Serialize)]
struct Evidence<'a> {
    reasons: &'a [String],
    wait_class: Option<&'static str>,
    oldest_wait_exact: bool,
    youngest_wait_ns: Option<u64>,
    youngest_wait_exact: bool,
    waits: Vec<TaskWaits>,
    unchanged_looks: u32,
    objects: Vec<Waiters<'a>>,
    object_count: u64,
    last_waker: Option<LastWaker>,
    site: Option<Fate>,
    ancestors: Vec<Ancestor<'a>>,
    growth: Option<Growth>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cycle: Vec<Step<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bystanders: Option<Bystanders<'a>>,
    stack_bytes: u64,
    stack: Stack<'a>,
    labels: Vec<Label<'a>>,
}

#[derive(serde::Serialize)]
struct TaskWaits {
    id: u64,
    since: Moment,
    since_monotonic_ns: u64,
    exact: bool,
    waited_ns: Option<u64>,
    waited_at_least_ns: Option<u64>,
}

impl TaskWaits {
    fn new(w: &TaskWait) -> Self {
        Self {
            id: w.id,
            since: Moment(w.since),
            since_monotonic_ns: w.since_monotonic.0,
            exact: exact(w.waited).is_some(),
            waited_ns: exact(w.waited),
            waited_at_least_ns: at_least(w.waited),
        }
    }
}

#[derive(serde::Serialize)]
struct Waiters<'a> {
    object: Object<'a>,
    waiters: u64,
}

#[derive(serde::Serialize)]
struct LastWaker {
    id: u64,
    alive: bool,
}

#[derive(serde::Serialize)]
struct Fate {
    births: u64,
    deaths: u64,
    alive: u64,
    median_life_at_most_ns: Option<u64>,
    p99_life_at_most_ns: Option<u64>,
    outlived_ns: Option<u64>,
}

impl Fate {
    fn new(site: SiteFate) -> Self {
        Self {
            births: site.births,
            deaths: site.deaths,
            alive: site.alive,
            median_life_at_most_ns: site.median_life.map(|n| n.0),
            p99_life_at_most_ns: site.p99_life.map(|n| n.0),
            outlived_ns: site.outlived.map(|n| n.0),
        }
    }
}

#[derive(serde::Serialize)]
struct Ancestor<'a> {
    id: u64,
    alive: bool,
    spawn_site: Option<Site<'a>>,
}

#[derive(serde::Serialize)]
struct Step<'a> {
    id: u64,
    waits_on: Object<'a>,
    wait_site: Option<Site<'a>>,
    runs: Option<u64>,
}

#[derive(serde::Serialize)]
struct Bystanders<'a> {
    count: u64,
    tasks: &'a [u64],
}

#[derive(serde::Serialize)]
struct Growth {
    tasks_per_minute: f64,
    over_ns: u64,
    rss_bytes: Option<u64>,
    rss_bytes_per_minute: Option<u64>,
    limit_bytes: Option<u64>,
    limit_in_ns: Option<u64>,
}

impl Growth {
    fn new(climb: Climb) -> Self {
        let memory = climb.memory;
        Self {
            tasks_per_minute: (climb.tasks_per_minute * 100.0).round() / 100.0,
            over_ns: climb.over.0,
            rss_bytes: memory.map(|m| m.rss_bytes),
            // A cast of a float saturates.
            rss_bytes_per_minute: memory.map(|m| m.bytes_per_minute as u64),
            limit_bytes: memory.and_then(|m| m.limit_bytes),
            limit_in_ns: memory.and_then(|m| m.limit_in).map(|n| n.0),
        }
    }
}

impl<'a> Evidence<'a> {
    fn new(f: &'a FindingView) -> Self {
        Self {
            reasons: &f.reasons,
            wait_class: class(f.wait_class),
            oldest_wait_exact: exact(f.oldest_wait).is_some(),
            youngest_wait_ns: at_least(f.youngest_wait),
            youngest_wait_exact: exact(f.youngest_wait).is_some(),
            waits: f.waits.iter().map(TaskWaits::new).collect(),
            unchanged_looks: f.unchanged_looks,
            objects: f
                .objects
                .iter()
                .map(|(on, n)| Waiters { object: Object(on), waiters: *n })
                .collect(),
            object_count: f.object_count,
            last_waker: f.last_waker.map(|w| LastWaker { id: w.id, alive: w.alive }),
            site: f.site.map(Fate::new),
            ancestors: f
                .ancestors
                .iter()
                .map(|a| Ancestor { id: a.id, alive: a.alive, spawn_site: Site::of(&a.spawn_site) })
                .collect(),
            growth: f.climb.map(Growth::new),
            cycle: f
                .cycle
                .iter()
                .map(|step| Step {
                    id: step.id,
                    waits_on: Object(&step.waits_on),
                    wait_site: Site::of(&step.wait_site),
                    runs: step.runs,
                })
                .collect(),
            bystanders: (!f.cycle.is_empty())
                .then_some(Bystanders { count: f.bystander_count, tasks: &f.bystanders }),
            stack_bytes: f.stack_bytes,
            stack: Stack(&f.stack),
            labels: f
                .labels
                .iter()
                .map(|l| Label { key: &l.key, value: &l.value, tasks: l.tasks })
                .collect(),
        }
    }
}

/// Writes a finding on one line.
///
/// # Errors
/// The writer's.
pub fn write_finding(out: &mut dyn Write, f: &FindingView, change: Change) -> io::Result<()> {
    let finding = Finding {
        schema: "loiter.finding/1",
        finding_id: &f.id,
        change: change.word(),
        at: Moment(f.as_of),
        first_seen: Moment(f.first_seen),
        kind: f.kind.word(),
        confidence: f.confidence.word(),
        process: Process::new(&f.process),
        tests: &f.tests,
        spawn_site: Site::of(&f.spawn_site),
        wait_site: Site::of(&f.wait_site),
        wait_reason: word(&f.wait_reason),
        task_kind: f.task_kind.word(),
        tasks: &f.tasks,
        count: f.count,
        oldest_wait_ns: at_least(f.oldest_wait),
        advice: f.advice.as_ref().map(|a| Advice {
            pattern: &a.pattern,
            text: &a.text,
            frame: Site::of(&a.frame),
        }),
        expired: f.expired.as_ref().map(|e| Expired {
            owner: &e.owner,
            until: &e.until,
            note: &e.note,
        }),
        evidence: Evidence::new(f),
    };
    write_line(out, &finding)
}

/// Tells a watch as JSON lines; notices stay text, on another writer. What changes the meaning of
/// later lines is a line too.
pub struct JsonSink<Out, Err> {
    out: Out,
    err: Err,
    options: TextOptions,
}

impl<Out: Write, Err: Write> JsonSink<Out, Err> {
    /// Findings go to `out`, notices to `err`.
    pub fn new(out: Out, err: Err, options: TextOptions) -> Self {
        Self { out, err, options }
    }

    /// Gives the writer of the findings back.
    pub fn into_out(self) -> Out {
        self.out
    }

    fn tell(&mut self, finding: &FindingView, change: Change) -> io::Result<()> {
        write_finding(&mut self.out, finding, change)?;
        self.out.flush()
    }

    fn tell_notice(&mut self, who: Option<&Who>, notice: &Notice) {
        let process = who.map(|who| Named { pid: who.pid, exe: &who.exe });
        let told = match (notice, process) {
            (
                Notice::Attached { at, runtime_version, mode, probes, tasks, took, .. },
                Some(process),
            ) => {
                let watching = Watching {
                    schema: "loiter.watching/1",
                    at: Moment(*at),
                    process,
                    runtime_version,
                    mode: mode.word(),
                    probes: *probes,
                    tasks: *tasks,
                    took_ns: took.0,
                };
                write_line(&mut self.out, &watching)
            }
            (notice, process) => match mode_change(notice, process) {
                Some(change) => write_line(&mut self.out, &change),
                None => return,
            },
        };
        // A reader that has gone is noticed with the next finding, or the summary.
        let _ignored = told.and_then(|()| self.out.flush());
    }
}

impl<Out: Write, Err: Write> WatchSink for JsonSink<Out, Err> {
    fn opened(&mut self, finding: &FindingView) -> io::Result<()> {
        self.tell(finding, Change::Opened)
    }

    fn updated(&mut self, finding: &FindingView) -> io::Result<()> {
        self.tell(finding, Change::Updated)
    }

    fn resolved(&mut self, finding: &FindingView) -> io::Result<()> {
        self.tell(finding, Change::Resolved)
    }

    fn notice(&mut self, notice: &Notice) {
        write_notice(&mut self.err, &self.options, notice);
        self.tell_notice(None, notice);
    }

    fn notice_of(&mut self, who: &Who, notice: &Notice) {
        write_notice_of(&mut self.err, &self.options, who, notice);
        self.tell_notice(Some(who), notice);
    }

    fn ended(&mut self, summary: &SummaryView) -> io::Result<()> {
        super::write_summary(&mut self.out, summary)?;
        self.out.flush()
    }
}
