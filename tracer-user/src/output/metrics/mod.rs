//! OpenMetrics: what Prometheus and its like gather. How many series there are is bounded: states, wait
//! reasons, kinds of findings, and the largest spawn sites. May use: view, base, stream's plain words.

use std::fmt;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::clean::clean;
use crate::base::{Frame, Nanos};
use crate::stream::Mode;
use crate::view::metrics::MetricsView;

/// What the answer to a scrape is, for its `Content-Type`.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Labels are cut at this many characters.
const MAX_LABEL: usize = 200;

type Labels = Vec<(&'static str, String)>;
type Ratio = Gauge<f64, AtomicU64>;
type Seconds = Counter<f64, AtomicU64>;

/// Writes all processes.
///
/// # Errors
/// If it cannot be formatted; the text then is of no use.
pub fn render(views: &[MetricsView]) -> Result<String, fmt::Error> {
    let mut page = Page::default();
    views.iter().for_each(|view| page.add(view));
    let mut registry = Registry::with_prefix("loiter");
    page.register(&mut registry);
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

macro_rules! page {
    ($($field:ident: $metric:ty, $name:literal, $unit:expr, $help:literal;)+) => {
        /// All families; those without a value are left out of the text by the encoder.
        #[derive(Default)]
        struct Page {
            $($field: Family<Labels, $metric>,)+
        }

        impl Page {
            fn register(self, registry: &mut Registry) {
                $(match $unit {
                    Some(unit) => registry.register_with_unit($name, $help, unit, self.$field),
                    None => registry.register($name, $help, self.$field),
                })+
            }
        }
    };
}

page! {
    info: Gauge, "target_info", None, "What is watched; always 1";
    tasks: Gauge, "tasks", None, "Tasks of the program, by state and by what they wait for";
    runtime_tasks: Gauge, "runtime_tasks", None, "Tasks of the runtime";
    born: Counter, "tasks_born", None, "Births seen; while no probes are on none are";
    ended: Counter, "tasks_ended", None, "Deaths seen; while no probes are on none are";
    lost: Counter, "records_lost", None, "Records lost, by where";
    in_doubt: Gauge, "in_doubt", None, "1 while something lost is not made good for by a look";
    findings: Gauge, "findings", None, "Open findings that are not acknowledged";
    acknowledged: Gauge, "findings_acknowledged", None, "Open findings that are acknowledged";
    opened: Counter, "findings_opened", None, "Findings opened so far";
    site_tasks: Gauge, "site_tasks", None, "Tasks alive, of the spawn sites with most of them";
    site_born: Counter, "site_tasks_born", None, "Births seen at the spawn sites with most tasks";
    sites: Gauge, "sites", None, "Spawn sites known, also those not told one by one";
    mode: Gauge, "mode", None, "1 for the probes that are on: none, lifecycle or all";
    mode_time: Seconds, "mode", Some(Unit::Seconds), "How long each mode was on";
    mode_changes: Counter, "mode_changes", None, "How often the probes were changed to keep the budget";
    budget: Ratio, "budget", Some(Unit::Other("ratio".to_owned())), "What watching may cost: a part of one CPU, or of what the target uses";
    allowed: Ratio, "allowed", Some(Unit::Other("ratio".to_owned())), "The same at present, as a part of one CPU";
    probe_cost: Ratio, "probe_cost", Some(Unit::Other("ratio".to_owned())), "What probes take of the target's time at present, as a part of one CPU";
    own_cost: Ratio, "own_cost", Some(Unit::Other("ratio".to_owned())), "What loiter takes at present, as a part of one CPU";
    hits: Counter, "probe_hits", None, "Hits of probes";
    probe_time: Seconds, "probe", Some(Unit::Seconds), "Processor time of the target that probes took, calibrated";
    own_time: Seconds, "cpu", Some(Unit::Seconds), "Processor time of loiter since its probes were on";
    looks: Counter, "looks", None, "Looks at all tasks";
    look_time: Ratio, "last_look_duration", Some(Unit::Seconds), "How long the last look took";
    look_at: Ratio, "last_look_timestamp", Some(Unit::Seconds), "When the last look was complete, since the Unix epoch";
    resident: Gauge, "target_resident", Some(Unit::Bytes), "Resident memory of the target";
    limit: Gauge, "target_memory_limit", Some(Unit::Bytes), "The tightest limit of memory that its cgroups set";
    cpu: Seconds, "target_cpu", Some(Unit::Seconds), "Processor time of the target, as of the last look";
    stopped: Gauge, "target_stopped", None, "1 while the target stands still as a whole";
}

impl Page {
    fn add(&mut self, view: &MetricsView) {
        let whose = whose(view);
        let with = |more: &[(&'static str, &str)]| -> Labels {
            let more = more.iter().map(|(name, value)| (*name, label(value)));
            whose.iter().cloned().chain(more).collect()
        };
        gauge(&self.info, info(view, &whose), 1);
        for (state, count) in &view.states {
            let labels = with(&[("state", state.word()), ("reason", ""), ("class", "")]);
            gauge(&self.tasks, labels, *count);
        }
        for waiting in &view.waiting {
            let class = waiting.class.map_or("", |class| class.word());
            let labels =
                with(&[("state", "waiting"), ("reason", &waiting.reason), ("class", class)]);
            gauge(&self.tasks, labels, waiting.count);
        }
        gauge(&self.runtime_tasks, with(&[]), view.runtime_tasks);
        count(&self.born, with(&[]), view.births);
        count(&self.ended, with(&[]), view.deaths);
        for (kind, lost) in &view.lost {
            count(&self.lost, with(&[("kind", kind.word())]), *lost);
        }
        gauge(&self.in_doubt, with(&[]), view.in_doubt.into());
        for ((kind, confidence), open) in &view.findings {
            let labels = with(&[("kind", kind.word()), ("confidence", confidence.word())]);
            gauge(&self.findings, labels, *open);
        }
        gauge(&self.acknowledged, with(&[]), view.acknowledged);
        count(&self.opened, with(&[]), view.opened);
        for site in &view.sites {
            let labels = with(&[("site", &place(&site.site))]);
            gauge(&self.site_tasks, labels.clone(), site.alive);
            count(&self.site_born, labels, site.births);
        }
        gauge(&self.sites, with(&[]), view.site_count);
        for mode in Mode::ALL {
            let labels = with(&[("mode", mode.word())]);
            gauge(&self.mode, labels.clone(), (mode == view.mode).into());
            let time = view.modes.iter().find(|(m, _)| *m == mode).map_or(Nanos(0), |(_, t)| *t);
            seconds(&self.mode_time, labels, time);
        }
        self.add_cost(view, &with(&[]));
        self.add_process(view, &with(&[]));
    }

    fn add_cost(&mut self, view: &MetricsView, whose: &Labels) {
        if let Some(cost) = &view.cost {
            self.budget.get_or_create(whose).set(cost.budget);
            count(&self.hits, whose.clone(), cost.hits);
            count(&self.mode_changes, whose.clone(), cost.changes.into());
            seconds(&self.probe_time, whose.clone(), cost.probes);
            seconds(&self.own_time, whose.clone(), cost.loiter);
        }
        if let Some(rates) = &view.rates {
            self.allowed.get_or_create(whose).set(rates.allowed);
            self.probe_cost.get_or_create(whose).set(rates.probes);
            self.own_cost.get_or_create(whose).set(rates.loiter);
        }
    }

    fn add_process(&mut self, view: &MetricsView, whose: &Labels) {
        count(&self.looks, whose.clone(), view.looks.into());
        if let Some((at, took)) = view.last_look {
            self.look_time.get_or_create(whose).set(took.as_secs_f64());
            self.look_at.get_or_create(whose).set(at.0 as f64 / 1e9);
        }
        if let Some((resident, limit)) = view.memory {
            gauge(&self.resident, whose.clone(), resident);
            if let Some(limit) = limit {
                gauge(&self.limit, whose.clone(), limit);
            }
        }
        if let Some(cpu) = view.cpu {
            seconds(&self.cpu, whose.clone(), cpu);
        }
        gauge(&self.stopped, whose.clone(), view.stopped.into());
    }
}

fn gauge(family: &Family<Labels, Gauge>, labels: Labels, value: u64) {
    family.get_or_create(&labels).set(i64::try_from(value).unwrap_or(i64::MAX));
}

fn count(family: &Family<Labels, Counter>, labels: Labels, value: u64) {
    family.get_or_create(&labels).inc_by(value);
}

fn seconds(family: &Family<Labels, Seconds>, labels: Labels, time: Nanos) {
    family.get_or_create(&labels).inc_by(time.as_secs_f64());
}

/// The labels of every series of a process.
fn whose(view: &MetricsView) -> Labels {
    let process = &view.process;
    let name = process.exe.rsplit('/').next().unwrap_or(&process.exe);
    vec![
        ("pid", process.pid.to_string()),
        ("process", label(name)),
        ("container", label(process.container.as_deref().unwrap_or(""))),
    ]
}

fn info(view: &MetricsView, whose: &Labels) -> Labels {
    let build = &view.process.build;
    let revision = build.settings.iter().find(|(key, _)| &**key == "vcs.revision");
    let more = [
        ("exe", view.process.exe.as_str()),
        ("runtime", view.process.runtime.as_str()),
        ("runtime_version", view.process.runtime_version.as_str()),
        ("version", build.version.as_deref().unwrap_or("")),
        ("revision", revision.map_or("", |(_, value)| value)),
    ];
    let more = more.into_iter().map(|(name, value)| (name, label(value)));
    whose.iter().cloned().chain(more).collect()
}

/// `main.run main.go:12`
fn place(frame: &Frame) -> String {
    let file = frame.file.rsplit('/').next().unwrap_or(&frame.file);
    if file.is_empty() {
        return frame.function.to_string();
    }
    format!("{} {file}:{}", frame.function, frame.line)
}

/// Text of the target, harmless and of a bounded length.
fn label(text: &str) -> String {
    clean(text).chars().take(MAX_LABEL).collect()
}
