//! Recordings to be exported: of a simulated history, and of one that wants to do harm.

use std::path::{Path, PathBuf};
use std::process::Output;

use loiter::base::*;
use loiter::model::Names;
use loiter::pipeline;
use loiter::record::{Content, Limits, Recorder, RecorderSettings};
use loiter::stream::*;
use loiter::view::timeline::{Moment, Slice, TimelineSink, Wake};

use crate::common::loiter::run;
use crate::sim::{Dice, Op, Traced, Truth, simulate};
use crate::world::*;

/// What a goroutine is called that wants to break out of a page, a line or a terminal.
pub const HOSTILE: &str =
    "</script><img src=x onerror=\"window.hacked=1\">;'&\u{202e}\n\x1b[31m# x";

/// A directory that goes when dropped, with a recording in it.
pub struct Recorded {
    pub dir: tempfile::TempDir,
    pub path: PathBuf,
}

impl Recorded {
    pub fn new(inputs: &[Input]) -> Recorded {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("night.loiter");
        let mut recorder = Recorder::start(RecorderSettings {
            place: loiter::record::Place::File(path.clone()),
            limits: Limits::default(),
            content: Content::Full,
            flush: RecorderSettings::FLUSH,
            writer: "a test".to_owned(),
            settings: vec![("stuck_after_ns".to_owned(), "50000000".to_owned())],
        })
        .unwrap();
        for some in inputs.chunks(1000) {
            recorder.take(some).unwrap();
        }
        recorder.finish("the test is over").unwrap();
        Recorded { dir, path }
    }

    /// `loiter export` to a file.
    pub fn export(&self, format: &str, more: &[&str]) -> PathBuf {
        let out = self.dir.path().join(format!("out.{format}"));
        let (from, to) = (self.path.to_str().unwrap(), out.to_str().unwrap());
        succeed(&run(&[&["export", from, "--format", format, "-o", to], more].concat()));
        out
    }

    /// The timeline as the view tells it.
    pub fn timeline(&self) -> Collected {
        let mut collected = Collected::default();
        pipeline::export(&self.path, (None, None), &mut collected, &mut |_, _| {}).unwrap();
        collected
    }
}

#[track_caller]
pub fn succeed(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Everything that a timeline told.
#[derive(Default)]
pub struct Collected {
    pub slices: Vec<Slice>,
    pub wakes: Vec<Wake>,
    pub losses: Vec<Loss>,
    pub findings: usize,
    pub memory: usize,
    pub from: KTime,
    pub words: std::collections::BTreeMap<u16, String>,
    pub sites: std::collections::BTreeMap<u32, String>,
}

impl TimelineSink for Collected {
    fn moment(&mut self, moment: &Moment<'_>, names: &Names) -> std::io::Result<()> {
        match moment {
            Moment::Process { at, .. } => self.from = *at,
            Moment::Slice(slice) => {
                if let Some(reason) = names.reason(slice.reason) {
                    self.words.insert(slice.reason.0, reason.word.to_string());
                }
                if let Some(frame) = names.frame(slice.wait_site) {
                    let file = frame.file.rsplit('/').next().unwrap();
                    let name = format!("{} {file}:{}", frame.function, frame.line);
                    self.sites.insert(slice.wait_site.0, name);
                }
                self.slices.push(*slice);
            }
            Moment::Wake(wake) => self.wakes.push(*wake),
            Moment::Loss(loss) => self.losses.push(*loss),
            Moment::Finding { .. } => self.findings += 1,
            Moment::Memory { .. } => self.memory += 1,
            _ => {}
        }
        Ok(())
    }
}

/// Any numbers make a history.
pub fn ops(n: usize, seed: u64) -> Vec<Op> {
    let mut dice = Dice(seed);
    let mut roll = |sides| dice.roll(sides);
    (0..n).map(|_| (roll(256) as u8, roll(256) as u8, roll(4000) as u16)).collect()
}

pub fn traced(mode: Mode, loss: u64, seed: u64) -> Traced {
    Traced { modes: vec![mode], min_wait: None, loss, shuffle: 1, before: 4, seed }
}

pub fn history(mode: Mode, loss: u64, seed: u64) -> (Truth, Vec<Input>) {
    simulate(&ops(1500, seed), &traced(mode, loss, seed))
}

/// A process all of whose names want to do harm, with a leak, a wake-up, a loss and memory.
pub fn hostile() -> Vec<Input> {
    let name = |id, function: &str| Input::NameDef {
        id,
        frame: Frame {
            function: function.into(),
            file: format!("/src/{HOSTILE}.go").into(),
            line: 7,
            kind: FrameKind::Call,
            visibility: Visibility::Shown,
        },
    };
    let mut def = process_def(P, 77, ms(0));
    def.exe = format!("/app/{HOSTILE}").into();
    def.degraded = Box::new([HOSTILE.into()]);
    def.build.build_id = Some("cafe0123".into());
    let mut all = vec![
        name(SPAWN, HOSTILE),
        name(START, "main.start"),
        name(SITE, "main.wait_here"),
        Input::StackDef { id: STACK, frames: Box::new([SITE, START]) },
        Input::ReasonDef { id: SEND, class: WaitClass::ChanSend, word: "chan send".into() },
        Input::ReasonDef { id: MUTEX, class: WaitClass::Lock, word: HOSTILE.into() },
        Input::ClockAnchor { mono: ms(0), wall_ns: 1_700_000_000_000_000_000 },
        Input::ProcessDef(Box::new(def)),
        Input::ModeChange { process: P, at: ms(0), mode: Mode::All, why: HOSTILE.into() },
    ];
    let event = |at, kind| Input::Event(Event { process: P, at: ms(at), tid: Tid(1), kind });
    for n in 0..30 {
        let at = n * 100;
        all.push(event(
            at,
            EventKind::Birth {
                task: g(100 + n),
                parent: Some(g(1)),
                spawn_site: SPAWN,
                start: START,
            },
        ));
        all.push(event(at + 1, EventKind::Run { task: g(100 + n) }));
        all.push(event(
            at + 2,
            EventKind::Park { task: g(100 + n), reason: SEND, run_seq: RunSeq(1) },
        ));
    }
    all.push(event(3_010, EventKind::Ready { task: g(101), waker: Waker::Task(g(100)) }));
    all.push(event(3_020, EventKind::Run { task: g(101) }));
    all.push(event(3_030, EventKind::Park { task: g(101), reason: MUTEX, run_seq: RunSeq(2) }));
    all.push(Input::Memory { process: P, at: ms(3_100), rss_bytes: 64 << 20, limit_bytes: None });
    for look in 0..12u64 {
        let (t0, t1) = (ms(3_200 + look * 1_000), ms(3_201 + look * 1_000));
        all.push(Input::SnapshotBegin { process: P, look: LookSeq(look as u32 + 1), t0 });
        for n in 0..30u64 {
            let (reason, seq) = if n == 1 { (MUTEX, 2) } else { (SEND, 1) };
            let mut task = waiting(100 + n, t0, t1, reason, seq);
            task.labels = Box::new([("handler".into(), HOSTILE.into())]);
            all.push(Input::SnapshotTask(Box::new(task)));
        }
        all.push(Input::SnapshotEnd {
            process: P,
            look: LookSeq(look as u32 + 1),
            t1,
            outcome: complete(30),
        });
        all.push(Input::Tick(t1.after(len(10))));
    }
    all.push(Input::Loss(Loss {
        process: Some(P),
        kind: LossKind::RingFull,
        count: 5,
        since: ms(15_000),
        until: ms(15_100),
    }));
    all.push(Input::Tick(ms(15_200)));
    all
}

/// Sixty spawn sites with thirty tasks each, which all wait and run all the time.
pub fn busy() -> Vec<Input> {
    let mut all = preamble();
    let site = |i: u64| FrameId(1000 + i as u32);
    for i in 0..60 {
        let function = format!("main.site{i}").into();
        let (kind, visibility) = (FrameKind::Call, Visibility::Shown);
        let frame = Frame { function, file: "/src/main.go".into(), line: 1, kind, visibility };
        all.push(Input::NameDef { id: site(i), frame });
    }
    all.push(Input::ModeChange { process: P, at: ms(0), mode: Mode::All, why: "test".into() });
    let mut now = 0;
    let mut event = |kind| {
        now += 1;
        Input::Event(Event { process: P, at: KTime(ms(1).0 + now * 10_000), tid: Tid(1), kind })
    };
    for round in 0..40u64 {
        for n in 0..1800u64 {
            let task = g(100 + n);
            if round == 0 {
                let (parent, spawn_site) = (Some(g(1)), site(n % 60));
                all.push(event(EventKind::Birth { task, parent, spawn_site, start: START }));
            } else {
                all.push(event(EventKind::Ready { task, waker: Waker::Unknown }));
            }
            all.push(event(EventKind::Run { task }));
            let run_seq = RunSeq(round as u8);
            all.push(event(EventKind::Park { task, reason: RECEIVE, run_seq }));
        }
    }
    all
}

/// Whether nothing but whole files are in a directory.
pub fn no_halves(dir: &Path) -> bool {
    let mut names = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name());
    !names.any(|name| name.to_string_lossy().contains(".loiter-"))
}
