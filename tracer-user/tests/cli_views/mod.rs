//! Fixed views for golden tests: an order service whose consumer is gone, as it might be at three
//! in the morning.

#![allow(dead_code, reason = "each test uses a part")]

use std::sync::Arc;

use loiter::base::{Frame, FrameKind, KTime, Nanos, TaskKind, TaskState, Visibility, WaitClass};
use loiter::stream::{
    BuildInfo, Carries, ChannelState, LockKind, LookOutcome, LossKind, Mode, WaitsOn,
};
use loiter::view::*;

mod host;

#[allow(unused_imports, reason = "each test uses a part")]
pub use host::{doctor, ps};

/// 2026-11-21 03:12:42 UTC.
pub const NOW: WallTime = WallTime(1_795_230_762_000_000_000);

pub fn frame(function: &str, file: &str, line: u32) -> Arc<Frame> {
    Arc::new(Frame {
        function: function.into(),
        file: file.into(),
        line,
        kind: FrameKind::Call,
        visibility: Visibility::Shown,
    })
}

pub fn hidden(function: &str, file: &str, line: u32) -> Arc<Frame> {
    Arc::new(Frame { visibility: Visibility::Hidden, ..(*frame(function, file, line)).clone() })
}

pub fn inlined(function: &str, file: &str, line: u32) -> Arc<Frame> {
    Arc::new(Frame { kind: FrameKind::Inlined, ..(*frame(function, file, line)).clone() })
}

pub fn process() -> ProcessView {
    ProcessView {
        pid: 4242,
        exe: "/srv/orders/bin/orders".into(),
        runtime: "go".into(),
        runtime_version: "go1.27.3".into(),
        build: BuildInfo {
            path: Some("example.com/shop/orders/cmd/orders".into()),
            module: Some("example.com/shop/orders".into()),
            version: Some("v1.4.2".into()),
            build_id: Some("5e1f0c8a".into()),
            settings: vec![
                ("-buildmode".into(), "exe".into()),
                ("vcs.revision".into(), "3f2a9c1d77e04b5a9c".into()),
                ("vcs.modified".into(), "true".into()),
            ],
        },
        container: Some("3f2a9c1d77e04b5a9c3f2a9c1d77e04b5a9c3f2a9c1d77e04b5a9c3f2a9c1d77".into()),
        pod: None,
        degraded: vec![],
    }
}

fn publish_stack() -> Arc<[Arc<Frame>]> {
    vec![
        hidden("runtime.gopark", "/usr/local/go/src/runtime/proc.go", 461),
        hidden("runtime.chansend", "/usr/local/go/src/runtime/chan.go", 283),
        inlined(
            "example.com/shop/orders/internal/bus.(*Bus).send",
            "/build/orders/internal/bus/bus.go",
            88,
        ),
        frame(
            "example.com/shop/orders/internal/bus.(*Bus).Publish",
            "/build/orders/internal/bus/bus.go",
            61,
        ),
        frame("main.(*Service).handle.func1", "/build/orders/cmd/orders/service.go", 133),
    ]
    .into()
}

fn spawn_site() -> Arc<Frame> {
    frame("main.(*Service).handle", "/build/orders/cmd/orders/service.go", 131)
}

fn full_channel() -> WaitsOn {
    WaitsOn::Channels(
        [ChannelState {
            address: 0xc0_000a_8060,
            capacity: 100,
            length: 100,
            closed: false,
            carries: Carries::Values,
        }]
        .into(),
    )
}

fn task(id: u64) -> TaskView {
    TaskView {
        kind: TaskKind::Goroutine,
        id,
        state: TaskState::Waiting,
        wait_reason: "chan send".into(),
        wait_class: Some(WaitClass::ChanSend),
        waited: Waited::AtLeast(Nanos::from_secs(200 + id)),
        parent: Some(1),
        system: false,
        created_by: Some(spawn_site()),
        start: Some(frame(
            "main.(*Service).handle.func1",
            "/build/orders/cmd/orders/service.go",
            131,
        )),
        frames: publish_stack(),
        wait_site: Some(publish_stack()[2].clone()),
        waits_on: full_channel(),
        labels: vec![("endpoint".into(), "/order".into())],
        stack_bytes: 8192,
        thread: None,
        locked_to_thread: false,
        idle: None,
    }
}

fn main_task() -> TaskView {
    let accept = frame("net.(*netFD).accept", "/usr/local/go/src/net/fd_unix.go", 172);
    TaskView {
        id: 1,
        wait_reason: "IO wait".into(),
        wait_class: Some(WaitClass::Io),
        waited: Waited::Unknown,
        parent: None,
        created_by: None,
        start: Some(frame("runtime.main", "/usr/local/go/src/runtime/proc.go", 147)),
        frames: vec![
            accept.clone(),
            frame("net/http.(*Server).Serve", "/usr/local/go/src/net/http/server.go", 3424),
            frame("main.main", "/build/orders/cmd/orders/main.go", 40),
        ]
        .into(),
        wait_site: Some(accept),
        waits_on: WaitsOn::Unknown,
        labels: vec![],
        ..task(1)
    }
}

/// A name that a tenant has chosen to move the cursor and turn the reading order.
pub const HOSTILE: &str = "main.\x1b[2J\u{202e}evil\n\tfunc";

pub fn dump() -> DumpView {
    let mut tasks: Vec<TaskView> = vec![main_task()];
    tasks.push(TaskView {
        state: TaskState::Waiting,
        wait_reason: "force gc (idle)".into(),
        wait_class: Some(WaitClass::Runtime),
        system: true,
        waited: Waited::Unknown,
        created_by: Some(hidden("runtime.init.7", "/usr/local/go/src/runtime/proc.go", 361)),
        frames: vec![hidden("runtime.forcegchelper", "/usr/local/go/src/runtime/proc.go", 373)]
            .into(),
        wait_site: None,
        waits_on: WaitsOn::Unknown,
        labels: vec![],
        ..task(2)
    });
    tasks.extend((17..29).map(task));
    tasks.extend((40..42).map(|id| {
        TaskView {
            wait_reason: "sync.Mutex.Lock".into(),
            wait_class: Some(WaitClass::Lock),
            waited: Waited::Exact(Nanos::from_millis(1500)),
            frames: vec![
                hidden(
                    "internal/sync.runtime_SemacquireMutex",
                    "/usr/local/go/src/runtime/sema.go",
                    95,
                ),
                frame("sync.(*Mutex).Lock", "/usr/local/go/src/sync/mutex.go", 46),
                frame("main.(*Store).Get", "/build/orders/cmd/orders/store.go", 22),
            ]
            .into(),
            waits_on: WaitsOn::Lock { kind: LockKind::Mutex, address: 0xc0_0012_3450, held: None },
            labels: vec![],
            ..task(id)
        }
    }));
    tasks.push(TaskView {
        wait_reason: "select".into(),
        wait_class: Some(WaitClass::Select),
        frames: vec![frame(HOSTILE, "/build/orders/\x07evil.go", 7)].into(),
        waits_on: WaitsOn::Channels(
            [
                ChannelState {
                    address: 0xc0_0000_0010,
                    capacity: 0,
                    length: 0,
                    closed: false,
                    carries: Carries::Signals,
                },
                ChannelState {
                    address: 0xc0_0000_0020,
                    capacity: 4,
                    length: 1,
                    closed: true,
                    carries: Carries::Values,
                },
                ChannelState {
                    address: 0,
                    capacity: 0,
                    length: 0,
                    closed: false,
                    carries: Carries::Signals,
                },
            ]
            .into(),
        ),
        labels: vec![("user".into(), "\u{202e}gnp.exe".into())],
        locked_to_thread: true,
        thread: Some(4250),
        ..task(50)
    });
    tasks.push(TaskView {
        state: TaskState::Running,
        waited: Waited::Unknown,
        frames: vec![].into(),
        wait_site: None,
        waits_on: WaitsOn::Unknown,
        labels: vec![],
        thread: Some(4251),
        ..task(51)
    });
    tasks.push(TaskView {
        state: TaskState::Syscall,
        waited: Waited::AtLeast(Nanos::from_secs(125)),
        frames: vec![
            frame("syscall.Syscall", "/usr/local/go/src/syscall/syscall_linux.go", 73),
            frame("0x4a1b2c", "", 0),
        ]
        .into(),
        wait_site: None,
        waits_on: WaitsOn::Timer { until: KTime(1) },
        labels: vec![],
        ..task(52)
    });
    DumpView {
        process: process(),
        taken_at: NOW,
        outcome: LookOutcome {
            listed: 20,
            read: 19,
            unreadable: 1,
            reread: 2,
            unsettled: 0,
            truncated: 0,
            took: Nanos::from_millis(12),
            bytes: 65_536,
            vitals: loiter::stream::Vitals::default(),
        },
        tasks,
    }
}

fn wait(id: u64, waited: Waited) -> TaskWait {
    let ago = waited.known().unwrap_or_default().0;
    TaskWait {
        id,
        since: WallTime(NOW.0 - i64::try_from(ago).unwrap()),
        since_monotonic: KTime(1_000_000_000_000 - ago),
        waited,
    }
}

pub fn acknowledgement(id: &str) -> Acknowledgement {
    Acknowledgement {
        id: id.into(),
        owner: "payments".into(),
        until: "2026-11-20".into(),
        ends: WallTime(1_795_219_200_000_000_000),
        note: "until the queue is gone \u{202e}".into(),
    }
}

pub fn stuck() -> FindingView {
    FindingView {
        task_kind: TaskKind::Goroutine,
        cycle: Vec::new(),
        bystanders: Vec::new(),
        bystander_count: 0,
        id: "5a1e0f3c9b7d2468".into(),
        kind: FindingKind::Stuck,
        confidence: Confidence::Likely,
        reasons: vec![
            "1204 senders have waited up to 3 min 20 s: nobody receives".into(),
            "4000 others from the same spawn site have ended, nine of ten within 3 ms; these have not".into(),
        ],
        process: process(),
        tests: Vec::new(),
        spawn_site: Some(spawn_site()),
        wait_site: Some(publish_stack()[2].clone()),
        wait_reason: "chan send".into(),
        wait_class: Some(WaitClass::ChanSend),
        tasks: (17..117).collect(),
        waits: (17..19).map(|id| wait(id, Waited::Exact(Nanos::from_secs(200)))).collect(),
        count: 1204,
        oldest_wait: Waited::Exact(Nanos::from_secs(200)),
        youngest_wait: Waited::Exact(Nanos::from_secs(31)),
        objects: vec![(full_channel(), 1204)],
        object_count: 1,
        last_waker: Some(WakerView { id: 41, alive: false }),
        site: Some(SiteFate {
            births: 5204,
            deaths: 4000,
            alive: 1204,
            median_life: Some(Nanos::from_millis(16)),
            p99_life: Some(Nanos::from_millis(131)),
            outlived: Some(Nanos::from_secs(90)),
        }),
        ancestors: vec![
            AncestorView {
                id: 811,
                spawn_site: Some(frame(
                    "net/http.(*Server).Serve",
                    "/usr/local/go/src/net/http/server.go",
                    3454,
                )),
                alive: false,
            },
            AncestorView { id: 1, spawn_site: None, alive: true },
        ],
        climb: Some(Climb {
            tasks_per_minute: 71.5,
            over: Nanos::from_secs(240),
            memory: Some(MemoryClimb {
                rss_bytes: 412 << 20,
                bytes_per_minute: 1_258_291.2,
                limit_bytes: Some(512 << 20),
                limit_in: Some(Nanos::from_secs(5000)),
            }),
        }),
        unchanged_looks: 3,
        stack_bytes: 1204 * 8192,
        stack: publish_stack(),
        labels: vec![
            LabelCount { key: "tenant".into(), value: "acme".into(), tasks: 1204 },
            LabelCount { key: "job".into(), value: "\u{202e}gnp".into(), tasks: 3 },
        ],
        advice: Some(AdviceView {
            pattern: "send-full-buffer".into(),
            text: "the buffer is full and nobody drains it: look why the consumer stopped".into(),
            frame: Some(publish_stack()[2].clone()),
        }),
        expired: Some(acknowledgement("5a1e0f3c9b7d2468")),
        first_seen: NOW,
        as_of: NOW,
    }
}

pub fn crowd() -> FindingView {
    let lock = frame("sync.(*RWMutex).RLock", "/usr/local/go/src/sync/rwmutex.go", 74);
    let get = frame(
        "example.com/shop/orders/internal/store.(*Store[...]).Get",
        "/build/orders/internal/store/store.go",
        22,
    );
    FindingView {
        task_kind: TaskKind::Goroutine,
        cycle: Vec::new(),
        bystanders: Vec::new(),
        bystander_count: 0,
        id: "00ff00ff00ff00ff".into(),
        kind: FindingKind::Crowd,
        confidence: Confidence::Suspect,
        reasons: vec![
            "23000 tasks wait for a lock at one place and none gets it".into(),
            "4 looks in a row found each of them as it was; the chance that a busy task looks so is one in 16777216".into(),
        ],
        process: ProcessView {
            degraded: vec!["go1.28 is not known: the layouts of go1.27 are assumed".into()],
            ..process()
        },
        tests: Vec::new(),
        spawn_site: Some(frame(
            "net/http.(*Server).Serve",
            "/usr/local/go/src/net/http/server.go",
            3454,
        )),
        wait_site: Some(get.clone()),
        wait_reason: "sync.RWMutex.RLock".into(),
        wait_class: Some(WaitClass::Lock),
        tasks: (1000..1100).collect(),
        waits: vec![wait(1000, Waited::AtLeast(Nanos::from_secs(5)))],
        count: 23_000,
        oldest_wait: Waited::AtLeast(Nanos::from_secs(5)),
        youngest_wait: Waited::AtLeast(Nanos::from_secs(5)),
        objects: vec![
            (WaitsOn::Lock { kind: LockKind::RwRead, address: 0xc0_0012_3450, held: None }, 22_990),
            (WaitsOn::Lock { kind: LockKind::RwWrite, address: 0xc0_0012_3490, held: None }, 8),
            (WaitsOn::Lock { kind: LockKind::Mutex, address: 0xc0_0012_34d0, held: None }, 1),
        ],
        object_count: 4,
        last_waker: None,
        site: None,
        ancestors: vec![],
        climb: None,
        unchanged_looks: 4,
        stack_bytes: 23_000 * 8192,
        stack: vec![lock, get].into(),
        labels: vec![],
        advice: None,
        expired: None,
        first_seen: NOW,
        as_of: NOW,
    }
}

pub fn summary() -> SummaryView {
    SummaryView {
        process: process(),
        mode: Mode::Lifecycle,
        modes: vec![
            (Mode::None, Nanos::from_secs(12)),
            (Mode::Lifecycle, Nanos::from_secs(48)),
        ],
        cost: Some(CostView {
            budget: 0.01,
            hits: 19_204,
            probes: Nanos::from_millis(31),
            loiter: Nanos::from_millis(402),
            target: Nanos::from_secs(7),
            over: Nanos::from_secs(59),
            changes: 1,
        }),
        ended: "time is up".into(),
        ended_at: NOW,
        watched: Nanos::from_secs(60),
        births: Some(10_204),
        deaths: Some(9_000),
        alive: 1_204,
        looks: 30,
        lost: vec![(LossKind::RingFull, 1_312), (LossKind::Recursion, 1)],
        findings: FindingCounts { likely: 1, ..FindingCounts::default() },
        acknowledged: vec![AcknowledgedView {
            acknowledgement: Acknowledgement {
                until: "2027-01-31".into(),
                ..acknowledgement("00ff00ff00ff00ff")
            },
            kind: FindingKind::Crowd,
            count: 23_000,
            wait_site: crowd().wait_site,
        }],
        idle: vec![
            IdleView { name: "accept loop".into(), why: "waits for the next connection".into(), count: 2 },
            IdleView {
                name: "keep-alive connection".into(),
                why: "an HTTP connection between two requests waits for its client to send the next one".into(),
                count: 311,
            },
        ],
        spawn_sites: vec![
            SpawnSiteView { site: spawn_site(), births: 5204, deaths: 4000, alive: 1204 },
            SpawnSiteView {
                site: frame("net/http.(*Server).Serve", "/usr/local/go/src/net/http/server.go", 3454),
                births: 5000,
                deaths: 5000,
                alive: 0,
            },
        ],
        thread_waits: vec![],
        deliveries: vec![],
    }
}

pub fn quiet_summary() -> SummaryView {
    SummaryView {
        mode: Mode::None,
        modes: vec![(Mode::None, Nanos::from_secs(5))],
        cost: None,
        births: None,
        deaths: None,
        lost: vec![],
        findings: FindingCounts::default(),
        acknowledged: vec![],
        idle: vec![],
        spawn_sites: vec![],
        ended: "4 looks were taken".into(),
        watched: Nanos::from_secs(5),
        looks: 4,
        ..summary()
    }
}
