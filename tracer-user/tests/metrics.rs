//! Metrics are bounded whatever a program does, and harmless whatever its names are.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

use loiter::base::{
    Frame, FrameId, FrameKind, KTime, Nanos, Pid, ProcId, ReasonId, RunSeq, TaskId, TaskKind, Tid,
    Visibility, WaitClass,
};
use loiter::detect::{Confidence, Engine, FindingKind, Settings};
use loiter::output::metrics::{MAX_PROCESSES, render as render_all};
use loiter::stream::{
    BuildInfo, Event, EventKind, Input, Loss, LossKind, Mode, ProcessDef, Processors,
    SchedulerState,
};
use loiter::view::delivery::{DeliveryView, Receiver};
use loiter::view::metrics::{MAX_SITES, MetricsView, RatesView, metrics};
use loiter::view::{Acknowledgements, CostView, WallTime, build};

const P: ProcId = ProcId(1);

fn render(views: &[MetricsView]) -> Result<String, std::fmt::Error> {
    render_all(views, &[])
}

fn at(n: u64) -> KTime {
    KTime(1_000_000_000 + n)
}

fn frame(function: &str, line: u32) -> Frame {
    Frame {
        function: function.into(),
        file: "/src/main.go".into(),
        line,
        kind: FrameKind::Call,
        visibility: Visibility::Shown,
    }
}

fn def(exe: &str) -> Input {
    defined(P, 7, exe)
}

fn defined(process: ProcId, pid: u32, exe: &str) -> Input {
    Input::ProcessDef(Box::new(ProcessDef {
        process,
        pid: Pid(pid),
        start_ticks: 1,
        at: at(0),
        exe: exe.into(),
        runtime: "go".into(),
        runtime_version: "go1.27.3".into(),
        build: BuildInfo::default(),
        container: None,
        pod: None,
        degraded: Box::new([]),
    }))
}

/// A process whose tasks were born at so many sites and wait for as many reasons.
fn view(exe: &str, sites: u32, reasons: u16, function: &str) -> MetricsView {
    let mut engine = Engine::new(Settings::default());
    let mut feed = |input| engine.feed(input, &mut Vec::new(), &mut Vec::new());
    feed(def(exe));
    feed(Input::ModeChange { process: P, at: at(1), mode: Mode::All, why: "test".into() });
    for n in 1..=sites {
        feed(Input::NameDef { id: FrameId(n), frame: frame(function, n) });
    }
    for n in 1..=reasons {
        let word = format!("reason {n}").into();
        feed(Input::ReasonDef { id: ReasonId(n), class: WaitClass::Other, word });
    }
    let event = |n: u64, kind| Input::Event(Event { process: P, at: at(n), tid: Tid(1), kind });
    for n in 1..=u64::from(sites) {
        let (task, site) = (TaskId::goroutine(n), FrameId(u32::try_from(n).unwrap()));
        feed(event(n, EventKind::Birth { task, parent: None, spawn_site: site, start: site }));
        if let Ok(n16) = u16::try_from(n)
            && n16 <= reasons
        {
            let (reason, run_seq) = (ReasonId(n16), RunSeq(0));
            feed(event(n, EventKind::Park { task, reason, run_seq }));
        }
    }
    metrics(&engine, P, &Acknowledgements::default()).unwrap()
}

fn series(text: &str) -> usize {
    text.lines().filter(|line| !line.starts_with('#')).count()
}

#[test]
fn ten_thousand_spawn_sites_are_no_more_series_than_a_hundred() {
    let many = view("/srv/orders", 10_000, 0, "main.run");
    assert_eq!((many.sites.len(), many.site_count), (MAX_SITES, 10_000));
    let few = view("/srv/orders", 100, 0, "main.run");
    let (many, few) = (render(&[many]).unwrap(), render(&[few]).unwrap());
    assert_eq!(series(&many), series(&few));
    let other = r#"loiter_site_tasks{pid="7",process="orders",container="",site="other"}"#;
    assert!(many.contains(&format!("{other} {}", 10_000 - MAX_SITES)), "{many}");
    assert!(series(&many) < 100, "{many}");
    assert!(
        many.contains("loiter_sites{pid=\"7\",process=\"orders\",container=\"\"} 10000"),
        "{many}"
    );
}

#[test]
fn reasons_without_number_are_told_together_and_none_is_left_out() {
    let view = view("/srv/orders", 500, 500, "main.run");
    assert!(view.waiting.len() <= 65, "{}", view.waiting.len());
    assert_eq!(view.waiting.iter().map(|w| w.count).sum::<u64>(), 500);
}

#[test]
fn names_that_try_to_write_series_of_their_own_do_not() {
    let evil = "x\"} 1\nloiter_findings{kind=\"leak\"} 99\n\u{202e}\\";
    let text = render(&[view(&format!("/srv/{evil}"), 3, 3, evil)]).unwrap();
    assert!(!text.lines().any(|line| line.starts_with("loiter_findings{kind")), "{text}");
    assert!(!text.contains('\u{202e}'), "{text}");
    let long = view(&"x".repeat(100_000), 1, 1, &"y".repeat(100_000));
    assert!(render(&[long]).unwrap().len() < 40_000);
}

#[test]
fn processes_do_not_mix() {
    let mut other = view("/srv/other", 4, 0, "main.run");
    other.process.pid = 8;
    let text = render(&[view("/srv/orders", 3, 0, "main.run"), other]).unwrap();
    for (pid, process, sites) in [(7, "orders", 3), (8, "other", 4)] {
        let line =
            format!("loiter_sites{{pid=\"{pid}\",process=\"{process}\",container=\"\"}} {sites}");
        assert!(text.contains(&line), "{text}");
    }
    assert_eq!(text.matches("# TYPE loiter_tasks gauge").count(), 1);
    assert!(text.ends_with("# EOF\n"));
}

/// Of these processes, where five records were lost of nobody in particular, and three of the first.
fn losing(processes: &[(ProcId, u32)]) -> Engine {
    let mut engine = Engine::new(Settings::default());
    let mut feed = |input| engine.feed(input, &mut Vec::new(), &mut Vec::new());
    processes.iter().for_each(|(process, pid)| feed(defined(*process, *pid, "/srv/orders")));
    let (kind, since, until) = (LossKind::RingFull, at(1), at(2));
    feed(Input::Loss(Loss { process: None, kind, count: 5, since, until }));
    feed(Input::Loss(Loss { process: Some(P), kind, count: 3, since, until }));
    engine
}

const Q: ProcId = ProcId(2);

/// Samples of records that a full ring lost: what stands before the number, and the number.
fn lost(text: &str) -> Vec<(String, u64)> {
    let samples = text.lines().filter(|line| line.starts_with("loiter_records_lost_total{"));
    let full = samples.filter(|line| line.contains("ring_full"));
    let split = full.map(|line| line.rsplit_once(' ').unwrap());
    split
        .map(|(labels, n)| (labels.replace("loiter_records_lost_total", ""), n.parse().unwrap()))
        .collect()
}

#[test]
fn of_several_processes_what_was_lost_of_nobody_in_particular_is_told_once_and_of_none_of_them() {
    let engine = losing(&[(P, 7), (Q, 8)]);
    let views = [P, Q].map(|id| metrics(&engine, id, &Acknowledgements::default()).unwrap());
    let of =
        |pid: u32| format!(r#"{{pid="{pid}",process="orders",container="",kind="ring_full"}}"#);
    let nobody = r#"{kind="ring_full"}"#.to_owned();
    assert_eq!(lost(&render(&views).unwrap()), [(nobody, 5), (of(7), 3), (of(8), 0)]);
}

#[test]
fn of_a_process_that_is_watched_alone_all_that_was_lost_is_told() {
    let engine = losing(&[(P, 7)]);
    let mut view = metrics(&engine, P, &Acknowledgements::default()).unwrap();
    view.take_all_losses();
    let own = r#"{pid="7",process="orders",container="",kind="ring_full"}"#.to_owned();
    assert_eq!(lost(&render(&[view]).unwrap()), [(own, 8)]);
}

#[test]
fn a_summary_has_what_was_lost_of_nobody_in_particular_only_where_there_is_nobody_else() {
    let of = |processes: &[(ProcId, u32)]| {
        build::summary(&mut losing(processes), P, "test").unwrap().lost
    };
    assert_eq!(of(&[(P, 7)]), [(LossKind::RingFull, 8)]);
    assert_eq!(of(&[(P, 7), (Q, 8)]), [(LossKind::RingFull, 3)]);
    // The same process after an exec is nobody else.
    assert_eq!(of(&[(Q, 7), (P, 7)]), [(LossKind::RingFull, 8)]);
}

#[test]
fn ten_thousand_processes_are_told_up_to_a_bound_those_with_most_tasks_first() {
    let one = view("/srv/orders", 3, 0, "main.run");
    let mut many = vec![one; 10_000];
    for (pid, view) in (1..).zip(&mut many) {
        view.process.pid = pid;
    }
    many[9_000].runtime_tasks = 0;
    many[9_000].states[0].1 = 99;
    let text = render(&many).unwrap();
    let told = text.lines().filter(|line| line.starts_with("loiter_target_info{")).count();
    assert_eq!(told, MAX_PROCESSES);
    assert!(text.contains("loiter_target_info{pid=\"9001\""), "the largest is there");
    assert!(text.contains("loiter_processes 10000\n"), "{text}");
    assert!(text.contains(&format!("loiter_processes_untold {}\n", 10_000 - MAX_PROCESSES)));
}

#[test]
fn waits_that_began_and_ended_before_our_eyes_are_in_the_histogram() {
    let mut engine = Engine::new(Settings::default());
    let mut feed = |input| engine.feed(input, &mut Vec::new(), &mut Vec::new());
    feed(def("/srv/orders"));
    feed(Input::ModeChange { process: P, at: at(1), mode: Mode::All, why: "test".into() });
    feed(Input::ReasonDef { id: ReasonId(3), class: WaitClass::Lock, word: "sync.Mutex".into() });
    let (task, ms) = (TaskId::goroutine(5), 1_000_000);
    let event = |n: u64, kind| Input::Event(Event { process: P, at: at(n), tid: Tid(1), kind });
    // Nobody saw when the first wait began.
    feed(event(ms, EventKind::Run { task }));
    for (park, run) in [(10, 12), (20, 520), (600, 40_600)] {
        let (reason, run_seq) = (ReasonId(3), RunSeq(0));
        feed(event(park * ms, EventKind::Park { task, reason, run_seq }));
        feed(event(run * ms, EventKind::Run { task }));
    }
    let text = render(&[metrics(&engine, P, &Acknowledgements::default()).unwrap()]).unwrap();
    let of = |what: &str| {
        let labels = r#"pid="7",process="orders",container="",kind="goroutine",class="lock""#;
        let start = format!("loiter_wait_seconds_{what}{{{labels}");
        let line = text
            .lines()
            .find(|line| line.starts_with(&start))
            .unwrap_or_else(|| panic!("{start}: {text}"));
        line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    assert_eq!(of("count"), 3.0);
    assert!((of("sum") - 40.502).abs() < 1e-6, "{text}");
    let buckets = text.lines().filter(|line| line.starts_with("loiter_wait_seconds_bucket{"));
    let counts: Vec<&str> = buckets.map(|line| line.rsplit(' ').next().unwrap()).collect();
    assert_eq!(counts, ["0", "0", "0", "1", "1", "1", "2", "2", "3", "3", "3"]);
}

/// Names of families that a text of queries uses.
fn used(text: &str) -> Vec<&str> {
    let parts = text.match_indices("loiter_").map(|(at, _)| &text[at..]);
    let ends = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    parts.map(|part| part.split(ends).next().unwrap()).collect()
}

#[test]
fn rules_dashboard_and_documentation_speak_of_nothing_that_is_not_told() {
    let mut view = view("/srv/orders", 3, 3, "main.run");
    view.findings.insert((FindingKind::Leak, Confidence::Likely), 1);
    view.memory = Some((1, Some(2)));
    view.last_look = Some((WallTime(1), Nanos(1)));
    view.cpu = Some(Nanos(1));
    view.rates = Some(RatesView { allowed: 0.01, probes: 0.0, loiter: 0.0 });
    let (over, time) = (Nanos(1), Nanos(1));
    let (budget, hits, changes) = (0.01, 1, 1);
    view.cost =
        Some(CostView { budget, hits, probes: time, loiter: time, target: time, over, changes });
    view.scheduler = Some(SchedulerState {
        processors: Processors { idle: 1, ..Processors::default() },
        ..SchedulerState::default()
    });
    view.waits.push(loiter::view::metrics::WaitLengthsView {
        kind: TaskKind::Goroutine,
        class: WaitClass::Lock,
        total: Nanos(1),
        lengths: vec![(Nanos(1024), 1)],
    });
    let deliveries = [DeliveryView { to: Receiver::Webhook, sent: 1, failed: 0, dropped: 0 }];
    let text = render_all(&[view], &deliveries).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    let dashboard = read("deploy/grafana/loiter.json");
    let _valid: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    for text_of in [dashboard, read("deploy/prometheus/loiter.rules.yml"), read("docs/metrics.md")]
    {
        for name in used(&text_of) {
            // Counters have their suffix on the sample alone.
            let suffixes = ["_total", "_bucket", "_count", "_sum"];
            let family = suffixes.iter().find_map(|suffix| name.strip_suffix(suffix));
            let family = family.unwrap_or(name);
            assert!(text.contains(&format!("# TYPE {family} ")), "{name} is not told: {text}");
        }
    }
    let told = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    for name in told.filter_map(|line| line.split(' ').next()) {
        assert!(read("docs/metrics.md").contains(name), "{name} is not documented");
    }
}
