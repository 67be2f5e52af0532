//! Looks at a program that is held at its end, until nothing is left that could end by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::base::{KTime, Nanos, Pid, ProcId, TaskId};
use crate::detect::{self, AtEnd, Engine, LeftBehind};
use crate::pipeline::clock;
use crate::pipeline::open::{Opened, Probing, open};
use crate::pipeline::settings::{CheckSettings, TargetSettings, Threads, Thresholds};
use crate::pipeline::watch::detectors;
use crate::runtime::go::MAIN_TASK;
use crate::runtime::link::{LookError, Looks};
use crate::runtime::native::idle::is_own_worker;
use crate::stream::{Input, LookSeq, Mode};
use crate::target::gate::Ending;
use crate::view::check::{Checked, Verdict};
use crate::view::{Acknowledgements, FindingCounts, Standing, build};

use super::tests_of::tests_of;

/// Between the first two looks; twice as long after each.
const FIRST_GAP: Duration = Duration::from_millis(5);
/// Between two looks at most: a program whose last task ends waits no longer than this.
const LAST_GAP: Duration = Duration::from_millis(100);
/// What could run and has not is given this much longer: the machine may be busy.
const GRACE: Nanos = Nanos::from_secs(1);
/// How long one sleeps without asking whether there is haste.
const NAP: Duration = Duration::from_millis(10);
/// Looks that it takes to tell a task that waits from one that is on its way.
const LEAST_LOOKS: u32 = 2;

/// What a Go program that crashes ends with (runtime/panic.go, `fatalpanic`).
const CRASHED: u8 = 2;

const PROCESS: ProcId = ProcId(1);

/// What is to be done with a program that is held.
pub(super) struct Examination {
    target: TargetSettings,
    ending: Ending,
    settle: Nanos,
    detectors: detect::Settings,
    acknowledged: Acknowledgements,
    in_haste: Arc<AtomicBool>,
}

impl Examination {
    pub(super) fn new(
        settings: &CheckSettings,
        pid: Pid,
        ending: Ending,
        in_haste: Arc<AtomicBool>,
    ) -> Self {
        let mut detectors = detectors(&Thresholds::default(), &settings.expectations);
        detectors.idle.retain(|pattern| !is_own_worker(pattern));
        Self {
            target: TargetSettings { pid, assume_go: None, threads: Threads::Left },
            ending,
            settle: settings.settle,
            // A lone worker is idle in a service; in a program that ends it was forgotten.
            detectors: detect::Settings { lone_at_most: 0, ..detectors },
            acknowledged: settings.expectations.acknowledged.clone(),
            in_haste,
        }
    }

    /// Looks, and says what was found.
    pub(super) fn run(self) -> Verdict {
        let began = clock::now();
        let crashed = self.ending.code == CRASHED;
        let opened = match open(&self.target, PROCESS) {
            Ok(opened) => opened,
            Err(_) if crashed => return Verdict::Crashed,
            Err(error) => return Verdict::Unreadable(format!("{error:#}")),
        };
        let Opened { def, looks, probing, .. } = opened;
        // Whoever has no runtime that is known has threads; the one that ends it is not left.
        let main = match probing.sites() {
            // Go has frozen everything but the thread that crashed.
            Some(_) if crashed => return Verdict::Crashed,
            Some(_) => MAIN_TASK,
            None => TaskId::thread(self.ending.thread.0),
        };
        let mut engine = Engine::new(self.detectors.clone());
        let at = def.at;
        for input in [
            clock::anchor(),
            Input::ProcessDef(Box::new(def)),
            Input::ModeChange { process: PROCESS, at, mode: Mode::None, why: "a check".into() },
        ] {
            feed(&mut engine, input);
        }
        let bench = Bench { engine, looks, probing, taken: 0 };
        match self.settle(bench, (began, main)) {
            Ok(checked) => Verdict::Checked(Box::new(checked)),
            Err(why) => Verdict::Unreadable(why.to_string()),
        }
    }

    fn settle(
        &self,
        mut bench: Bench,
        (began, main): (KTime, TaskId),
    ) -> Result<Checked, LookError> {
        let mut gap = FIRST_GAP;
        loop {
            let from = clock::now();
            bench.look()?;
            let now = clock::now();
            let held = now.since(began);
            let end = AtEnd { by: self.ending.thread, main: Some(main), held };
            let left = bench.engine.left_behind(PROCESS, &end);
            let settle = match left.on_their_way {
                true => Nanos(self.settle.0.saturating_add(GRACE.0)),
                false => self.settle,
            };
            let is_time = held >= settle || self.in_haste.load(Ordering::Relaxed);
            let is_clean = left.findings.is_empty() && left.stalled.is_none();
            if is_clean || (is_time && bench.taken >= LEAST_LOOKS) {
                return self.tell(bench, left);
            }
            // Looks take no more than half of the time, however many tasks there are.
            let took = Duration::from_nanos(now.since(from).0);
            let rest = Duration::from_nanos(settle.0.saturating_sub(held.0));
            self.sleep(gap.max(took).min(rest.max(FIRST_GAP)));
            gap = gap.saturating_mul(2).min(LAST_GAP);
        }
    }

    fn sleep(&self, mut left: Duration) {
        while !left.is_zero() && !self.in_haste.load(Ordering::Relaxed) {
            let nap = left.min(NAP);
            std::thread::sleep(nap);
            left = left.saturating_sub(nap);
        }
    }

    fn tell(&self, mut bench: Bench, left: LeftBehind) -> Result<Checked, LookError> {
        let engine = &mut bench.engine;
        let ended = format!("the program ended with code {}", self.ending.code);
        let summary = build::summary(engine, PROCESS, &ended);
        let mut summary =
            summary.ok_or_else(|| LookError::Failed("the model does not know it".to_owned()))?;
        summary.findings = FindingCounts::default();
        let mut findings = Vec::new();
        for finding in &left.findings {
            let Some(mut view) = build::finding(engine.model(), finding) else { continue };
            let by = self.acknowledged.of(&view.id).cloned();
            match by.map(|by| (by.standing(view.as_of), by)) {
                Some((Standing::Holds, by)) => {
                    summary.acknowledged.push(build::acknowledged(engine.model(), finding, &by));
                    continue;
                }
                Some((Standing::Expired, by)) => view.expired = Some(by),
                None => {}
            }
            view.tests = tests_of(engine.model(), finding);
            summary.findings.add(view.confidence);
            findings.push(view);
        }
        summary.process.degraded.extend(left.stalled);
        Ok(Checked { findings, summary })
    }
}

/// Model, detectors and the hand that looks.
struct Bench {
    engine: Engine,
    looks: Box<dyn Looks>,
    probing: Probing,
    taken: u32,
}

impl Bench {
    fn look(&mut self) -> Result<(), LookError> {
        let mut inputs = Vec::new();
        self.taken = self.taken.saturating_add(1);
        self.looks.look(LookSeq(self.taken), &clock::now, &mut |input| inputs.push(input))?;
        for input in self.probing.take_defs().into_iter().chain(inputs) {
            feed(&mut self.engine, input);
        }
        feed(&mut self.engine, Input::Tick(clock::now()));
        Ok(())
    }
}

/// What the detectors of a program that runs say is not asked for here.
fn feed(engine: &mut Engine, input: Input) {
    engine.feed(input, &mut Vec::new(), &mut Vec::new());
}
