//! From views to families: which numbers there are, and what they are called.

use std::cmp::Reverse;

use super::family::{Family, Gathered, Histogram, Key, Kind, Labels, Unit, Value, Whose};
use crate::base::{Frame, Nanos};
use crate::output::clean::clean;
use crate::stream::{LossKind, Mode, SchedulerState};
use crate::view::ProcessView;
use crate::view::delivery::DeliveryView;
use crate::view::metrics::{MetricsView, WaitLengthsView};

/// Labels are cut at this many characters.
const MAX_LABEL: usize = 200;
/// Most processes told, those with most tasks: some 150 series each.
pub const MAX_PROCESSES: usize = 256;
/// Up to where the classes of lengths reach, as powers of two of a nanosecond: from 8 µs to 18 minutes.
const LENGTHS: [u32; 10] = [13, 16, 19, 22, 25, 28, 31, 34, 37, 40];

/// The family that tells what else is known of a process.
pub(in crate::output) const INFO: &str = "target_info";

macro_rules! page {
    ($($field:ident: $kind:ident, $name:literal, $unit:ident, $help:literal;)+) => {
        /// All families.
        struct Page {
            $($field: Family,)+
        }

        impl Page {
            fn new() -> Self {
                Self { $($field: Family::new(Kind::$kind, $name, Unit::$unit, $help),)+ }
            }

            fn families(self) -> Vec<Family> {
                let mut all = vec![$(self.$field),+];
                all.retain(|family| !family.samples.is_empty());
                all
            }
        }
    };
}

page! {
    info: Gauge, "target_info", None, "What is watched; always 1";
    processes: Gauge, "processes", None, "Processes watched";
    untold: Gauge, "processes_untold", None, "Processes watched that are left out here, since there are too many";
    tasks: Gauge, "tasks", None, "Tasks of the program, by state and by what they wait for";
    runtime_tasks: Gauge, "runtime_tasks", None, "Tasks of the runtime";
    born: Counter, "tasks_born", None, "Births seen; while no probes are on none are";
    ended: Counter, "tasks_ended", None, "Deaths seen; while no probes are on none are";
    waits: Histogram, "wait", Seconds, "Waits that ended, by what for; only those whose begin and end were seen";
    processors: Gauge, "scheduler_processors", None, "Processors of the runtime's scheduler, by state; all of them are GOMAXPROCS";
    workers: Gauge, "scheduler_threads", None, "Threads of the runtime's scheduler";
    workers_idle: Gauge, "scheduler_threads_idle", None, "Threads of the scheduler that wait for work";
    spinning: Gauge, "scheduler_threads_spinning", None, "Threads of the scheduler that look for work";
    queues: Gauge, "scheduler_run_queue", None, "Tasks that may run and wait for a processor: in the global queue, in those of all processors, and in the longest of these";
    lost: Counter, "records_lost", None, "Records lost, by where; without a process those of nobody in particular, where several are watched";
    in_doubt: Gauge, "in_doubt", None, "1 while something lost is not made good for by a look";
    findings: Gauge, "findings", None, "Open findings that are not acknowledged";
    acknowledged: Gauge, "findings_acknowledged", None, "Open findings that are acknowledged";
    opened: Counter, "findings_opened", None, "Findings opened so far";
    site_tasks: Gauge, "site_tasks", None, "Tasks alive, of the spawn sites with most of them; those of all others together are `other`";
    site_born: Counter, "site_tasks_born", None, "Births seen at the spawn sites with most tasks";
    sites: Gauge, "sites", None, "Spawn sites known, also those not told one by one";
    mode: Gauge, "mode", None, "1 for the probes that are on: none, lifecycle or all";
    mode_time: Counter, "mode", Seconds, "How long each mode was on";
    mode_changes: Counter, "mode_changes", None, "How often the probes were changed to keep the budget";
    budget: Gauge, "budget", Ratio, "What watching may cost: a part of one CPU, or of what the target uses";
    allowed: Gauge, "allowed", Ratio, "The same at present, as a part of one CPU";
    probe_cost: Gauge, "probe_cost", Ratio, "What probes take of the target's time at present, as a part of one CPU";
    own_cost: Gauge, "own_cost", Ratio, "What loiter takes at present, as a part of one CPU";
    hits: Counter, "probe_hits", None, "Hits of probes";
    probe_time: Counter, "probe", Seconds, "Processor time of the target that probes took, calibrated";
    own_time: Counter, "cpu", Seconds, "Processor time of loiter since its probes were on";
    looks: Counter, "looks", None, "Looks at all tasks";
    look_time: Gauge, "last_look_duration", Seconds, "How long the last look took";
    look_at: Gauge, "last_look_timestamp", Seconds, "When the last look was complete, since the Unix epoch";
    resident: Gauge, "target_resident", Bytes, "Resident memory of the target";
    limit: Gauge, "target_memory_limit", Bytes, "The tightest limit of memory that its cgroups set";
    cpu: Counter, "target_cpu", Seconds, "Processor time of the target, as of the last look";
    stopped: Gauge, "target_stopped", None, "1 while the target stands still as a whole";
    deliveries: Counter, "deliveries", None, "What was sent elsewhere, by receiver and what became of it: sent, failed or dropped";
}

/// Everything that is told of these processes, and of what was sent elsewhere.
pub fn gather(views: &[MetricsView], deliveries: &[DeliveryView]) -> Gathered {
    let mut page = Page::new();
    let mut told: Vec<&MetricsView> = views.iter().collect();
    told.sort_by_key(|view| (Reverse(tasks(view)), view.process.pid));
    told.truncate(MAX_PROCESSES);
    let own = |labels: Labels| Key { process: None, labels };
    page.processes.put(&own(Vec::new()), Value::Count(views.len() as u64));
    let untold = views.len().saturating_sub(told.len());
    page.untold.put(&own(Vec::new()), Value::Count(untold as u64));
    for (kind, lost) in lost_of_nobody(views) {
        count(&mut page.lost, &own(vec![("kind", kind.word().to_owned())]), lost);
    }
    for view in deliveries {
        for (outcome, n) in
            [("sent", view.sent), ("failed", view.failed), ("dropped", view.dropped)]
        {
            let labels = vec![("to", view.to.word().to_owned()), ("outcome", outcome.to_owned())];
            page.deliveries.put(&own(labels), Value::Count(n));
        }
    }
    for (at, view) in told.iter().enumerate() {
        page.add(at, view);
    }
    let processes = told.into_iter().map(whose).collect();
    Gathered { processes, families: page.families() }
}

/// Records lost of nobody in particular, by kind. Each view has all of them, as of its own moment.
fn lost_of_nobody(views: &[MetricsView]) -> Vec<(LossKind, u64)> {
    let told = |kind| {
        let all = views.iter().flat_map(|view| &view.lost_of_nobody);
        all.filter(move |(of, _)| *of == kind).map(|(_, lost)| *lost).max()
    };
    LossKind::ALL.into_iter().filter_map(|kind| Some((kind, told(kind)?))).collect()
}

/// Tasks of the program.
fn tasks(view: &MetricsView) -> u64 {
    let states = view.states.iter().map(|(_, n)| *n);
    states.chain(view.waiting.iter().map(|w| w.count)).fold(0, u64::saturating_add)
}

/// Makes the labels of one process's samples.
#[derive(Clone, Copy)]
struct Of(usize);

impl Of {
    fn with(self, more: &[(&'static str, &str)]) -> Key {
        let labels = more.iter().map(|(name, value)| (*name, label(value))).collect();
        Key { process: Some(self.0), labels }
    }
}

impl Page {
    fn add(&mut self, at: usize, view: &MetricsView) {
        let of = Of(at);
        let plain = of.with(&[]);
        count(&mut self.info, &plain, 1);
        self.add_tasks(view, of);
        for lengths in &view.waits {
            let key = of.with(&[("kind", lengths.kind.word()), ("class", lengths.class.word())]);
            self.waits.put(&key, Value::Lengths(histogram(lengths)));
        }
        if let Some(scheduler) = &view.scheduler {
            self.add_scheduler(scheduler, of);
        }
        for (kind, lost) in &view.lost {
            count(&mut self.lost, &of.with(&[("kind", kind.word())]), *lost);
        }
        count(&mut self.in_doubt, &plain, view.in_doubt.into());
        for ((kind, confidence), open) in &view.findings {
            let key = of.with(&[("kind", kind.word()), ("confidence", confidence.word())]);
            count(&mut self.findings, &key, *open);
        }
        count(&mut self.acknowledged, &plain, view.acknowledged);
        count(&mut self.opened, &plain, view.opened);
        self.add_sites(view, of);
        for mode in Mode::ALL {
            let key = of.with(&[("mode", mode.word())]);
            count(&mut self.mode, &key, (mode == view.mode).into());
            let time = view.modes.iter().find(|(m, _)| *m == mode).map_or(Nanos(0), |(_, t)| *t);
            seconds(&mut self.mode_time, &key, time);
        }
        self.add_cost(view, &plain);
        self.add_process(view, &plain);
    }

    fn add_tasks(&mut self, view: &MetricsView, of: Of) {
        for (state, n) in &view.states {
            let key = of.with(&[("state", state.word()), ("reason", ""), ("class", "")]);
            count(&mut self.tasks, &key, *n);
        }
        for waiting in &view.waiting {
            let class = waiting.class.map_or("", |class| class.word());
            let key =
                of.with(&[("state", "waiting"), ("reason", &waiting.reason), ("class", class)]);
            count(&mut self.tasks, &key, waiting.count);
        }
        let plain = of.with(&[]);
        count(&mut self.runtime_tasks, &plain, view.runtime_tasks);
        count(&mut self.born, &plain, view.births);
        count(&mut self.ended, &plain, view.deaths);
    }

    fn add_scheduler(&mut self, scheduler: &SchedulerState, of: Of) {
        for (word, n) in scheduler.processors.by_state() {
            count(&mut self.processors, &of.with(&[("state", word)]), n.into());
        }
        let plain = of.with(&[]);
        count(&mut self.workers, &plain, scheduler.threads.into());
        count(&mut self.workers_idle, &plain, scheduler.threads_idle.into());
        count(&mut self.spinning, &plain, scheduler.threads_spinning.into());
        let queues = [
            ("global", scheduler.global_queue),
            ("local", scheduler.local_queues),
            ("longest-local", scheduler.longest_local_queue),
        ];
        for (word, n) in queues {
            count(&mut self.queues, &of.with(&[("queue", word)]), n.into());
        }
    }

    fn add_sites(&mut self, view: &MetricsView, of: Of) {
        for site in &view.sites {
            let key = of.with(&[("site", &place(&site.site))]);
            count(&mut self.site_tasks, &key, site.alive);
            count(&mut self.site_born, &key, site.births);
        }
        if view.site_count > view.sites.len() as u64 {
            let key = of.with(&[("site", "other")]);
            count(&mut self.site_tasks, &key, view.other_sites);
        }
        count(&mut self.sites, &of.with(&[]), view.site_count);
    }

    fn add_cost(&mut self, view: &MetricsView, plain: &Key) {
        if let Some(cost) = &view.cost {
            self.budget.put(plain, Value::Real(cost.budget));
            count(&mut self.hits, plain, cost.hits);
            count(&mut self.mode_changes, plain, cost.changes.into());
            seconds(&mut self.probe_time, plain, cost.probes);
            seconds(&mut self.own_time, plain, cost.loiter);
        }
        if let Some(rates) = &view.rates {
            self.allowed.put(plain, Value::Real(rates.allowed));
            self.probe_cost.put(plain, Value::Real(rates.probes));
            self.own_cost.put(plain, Value::Real(rates.loiter));
        }
    }

    fn add_process(&mut self, view: &MetricsView, plain: &Key) {
        count(&mut self.looks, plain, view.looks.into());
        if let Some((at, took)) = view.last_look {
            seconds(&mut self.look_time, plain, took);
            self.look_at.put(plain, Value::Real(at.0 as f64 / 1e9));
        }
        if let Some((resident, limit)) = view.memory {
            count(&mut self.resident, plain, resident);
            if let Some(limit) = limit {
                count(&mut self.limit, plain, limit);
            }
        }
        if let Some(cpu) = view.cpu {
            seconds(&mut self.cpu, plain, cpu);
        }
        count(&mut self.stopped, plain, view.stopped.into());
    }
}

fn count(family: &mut Family, key: &Key, value: u64) {
    family.put(key, Value::Count(value));
}

fn seconds(family: &mut Family, key: &Key, time: Nanos) {
    family.put(key, Value::Real(time.as_secs_f64()));
}

/// The view's many classes as few; a class of the view is never split.
fn histogram(of: &WaitLengthsView) -> Histogram {
    let ends = LENGTHS.map(|bits| 1u64 << bits);
    let reaches = |end: u64| Nanos(end).as_secs_f64();
    let mut classes: Vec<(f64, u64)> = ends.iter().map(|end| (reaches(*end), 0)).collect();
    classes.push((f64::MAX, 0));
    for (below, n) in &of.lengths {
        let class = ends.iter().position(|end| below.0 <= *end).unwrap_or(ends.len());
        if let Some((_, sum)) = classes.get_mut(class) {
            *sum = sum.saturating_add(*n);
        }
    }
    let count = classes.iter().map(|(_, n)| *n).fold(0, u64::saturating_add);
    Histogram { count, sum: of.total.as_secs_f64(), classes }
}

/// The labels of a process.
fn whose(view: &MetricsView) -> Whose {
    let process = &view.process;
    let name = process.exe.rsplit('/').next().unwrap_or(&process.exe);
    let build = &process.build;
    let revision = build.settings.iter().find(|(key, _)| &**key == "vcs.revision");
    let mut labels = vec![
        ("pid", process.pid.to_string()),
        ("process", label(name)),
        ("container", label(process.container.as_deref().unwrap_or(""))),
    ];
    labels.extend(pod(process));
    let info = [
        ("exe", process.exe.as_str()),
        ("runtime", process.runtime.as_str()),
        ("runtime_version", process.runtime_version.as_str()),
        ("version", build.version.as_deref().unwrap_or("")),
        ("revision", revision.map_or("", |(_, value)| value)),
    ];
    Whose {
        labels,
        info: info.into_iter().map(|(name, value)| (name, label(value))).collect(),
        since: view.since.0,
    }
}

/// What is known of the pod of a process: outside of Kubernetes there is none, and no label of it.
pub(in crate::output) fn pod(
    process: &ProcessView,
) -> impl Iterator<Item = (&'static str, String)> {
    let all = process.pod.iter().flat_map(|pod| {
        [("pod", &pod.name), ("namespace", &pod.namespace), ("container_name", &pod.container)]
    });
    all.filter_map(|(name, value)| Some((name, label(value.as_deref()?))))
}

/// `main.run main.go:12`
pub(in crate::output) fn place(frame: &Frame) -> String {
    let file = frame.file.rsplit('/').next().unwrap_or(&frame.file);
    if file.is_empty() {
        return frame.function.to_string();
    }
    format!("{} {file}:{}", frame.function, frame.line)
}

/// Text of the target, harmless and of a bounded length.
pub(in crate::output) fn label(text: &str) -> String {
    clean(text).chars().take(MAX_LABEL).collect()
}
