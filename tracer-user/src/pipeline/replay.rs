//! A recording through model and detectors: the same inputs, so the same findings.

use std::path::Path;

use anyhow::Context as _;

use crate::base::{KTime, Nanos, ProcId};
use crate::detect::Engine;
use crate::model::Model;
use crate::record::{Gap, Item, Meta, Overview, Recording};
use crate::stream::Input;
use crate::view::watch::{Notice, WatchSink};
use crate::view::{DumpView, SummaryView, WallTime, build};

use super::judge::{Said, said};
use super::settings::{Moment, ReportSettings, Thresholds};
use super::watch::detectors;

/// Is told how much of a recording was read: bytes, of how many.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64);

/// What a recording holds, without a look at most of it.
///
/// # Errors
/// If it cannot be read.
pub fn overview(path: &Path) -> anyhow::Result<(Meta, Overview)> {
    let recording = Recording::open(path)?;
    Ok((recording.meta().clone(), recording.overview()?))
}

/// Replays a recording, and tells its findings as they were told, then the summary.
///
/// # Errors
/// If it cannot be read, or the sink cannot be told any more.
pub fn report(
    settings: &ReportSettings,
    sink: &mut dyn WatchSink,
    progress: Progress<'_>,
) -> anyhow::Result<SummaryView> {
    let recording = Recording::open(&settings.path)?;
    let mut thresholds = Thresholds::of_recording(recording.meta());
    thresholds.stuck_after = settings.stuck_after.unwrap_or(thresholds.stuck_after);
    thresholds.crowd_min = settings.crowd_min.unwrap_or(thresholds.crowd_min);
    let mut telling = Telling {
        engine: Engine::new(detectors(&thresholds)),
        sink,
        since: Until::new(&recording, settings.since)?,
        told_from: None,
        last: None,
    };
    let mut until = Until::new(&recording, settings.until)?;
    let tail = walk(&recording, &mut until, progress, &mut |step| telling.step(step))?;
    telling.finish(&tail)
}

/// Every task of a process as it was at a moment of a recording: the process told of last.
///
/// # Errors
/// If it cannot be read, or no look had been taken by then.
pub fn dump_recording(
    path: &Path,
    at: Option<Moment>,
    progress: Progress<'_>,
) -> anyhow::Result<DumpView> {
    let recording = Recording::open(path)?;
    let mut until = Until::new(&recording, at)?;
    let (mut model, mut commands) = (Model::new(), Vec::new());
    let mut last = None;
    walk(&recording, &mut until, progress, &mut |step| {
        if let Step::Input(input) = step {
            last = process_of(&input).or(last);
            model.apply(input, &mut commands);
            commands.clear();
        }
        Ok(())
    })?;
    // Waits are as long as they were at that moment, also when nothing was told then.
    if let Some(at) = until.moment() {
        model.apply(Input::Tick(at), &mut commands);
    }
    let process = last.context("no process is in the recording up to this moment")?;
    build::dump(&model, process)
        .context("no look at all tasks is in the recording up to this moment; take a later one")
}

/// How a walk ended.
struct Ended {
    words: String,
    notice: Option<(KTime, Nanos, Option<String>)>,
}

/// What a walk meets.
enum Step {
    Input(Input),
    Gap(Gap),
}

/// Goes through a recording up to a moment.
fn walk(
    recording: &Recording,
    until: &mut Until,
    progress: Progress<'_>,
    each: &mut dyn FnMut(Step) -> anyhow::Result<()>,
) -> anyhow::Result<Ended> {
    let mut items = recording.items();
    while let Some(item) = items.next_item()? {
        progress(items.position(), recording.bytes());
        match item {
            Item::Gap(gap) => each(Step::Gap(gap))?,
            Item::Inputs(inputs) => {
                for input in inputs {
                    if until.is_past(&input) {
                        let words = "the moment asked for is reached".to_owned();
                        return Ok(Ended { words, notice: None });
                    }
                    each(Step::Input(input))?;
                }
            }
        }
    }
    let tail = items.tail();
    Ok(match &tail.closed {
        Some(words) => Ended { words: words.clone(), notice: None },
        None => {
            let at_most = Nanos(recording.meta().flush_ns);
            let notice = Some((tail.until, at_most, tail.stopped.clone()));
            Ended { words: "the recording breaks off".to_owned(), notice }
        }
    })
}

/// A moment of a recording, as far as its inputs have told where it lies.
pub struct Until {
    moment: Option<Moment>,
    at: Option<KTime>,
}

impl Until {
    /// Without a moment, everything is before it.
    fn new(recording: &Recording, moment: Option<Moment>) -> anyhow::Result<Self> {
        let at = match moment {
            None | Some(Moment::Wall(_)) => None,
            Some(Moment::AfterStart(n)) => Some(recording.overview()?.from.after(n)),
            Some(Moment::BeforeEnd(n)) => {
                Some(KTime(recording.overview()?.until.0.saturating_sub(n.0)))
            }
        };
        Ok(Self { moment, at })
    }

    /// Whether an input speaks of what came after the moment.
    fn is_past(&mut self, input: &Input) -> bool {
        if let (Some(Moment::Wall(wall)), Input::ClockAnchor { mono, wall_ns }) =
            (self.moment, input)
        {
            let at = i128::from(mono.0) + i128::from(wall) - i128::from(*wall_ns);
            self.at = Some(KTime(u64::try_from(at.max(0)).unwrap_or(u64::MAX)));
        }
        self.at.is_some_and(|until| input.time().is_some_and(|at| at > until))
    }

    /// Where it lies; None if everything is before it.
    const fn moment(&self) -> Option<KTime> {
        self.at
    }
}

const fn process_of(input: &Input) -> Option<ProcId> {
    match input {
        Input::ProcessDef(def) => Some(def.process),
        _ => None,
    }
}

/// A replay that is told as a watch is.
struct Telling<'a> {
    engine: Engine,
    sink: &'a mut dyn WatchSink,
    since: Until,
    /// Findings are told from now on.
    told_from: Option<KTime>,
    last: Option<ProcId>,
}

impl Telling<'_> {
    fn step(&mut self, step: Step) -> anyhow::Result<()> {
        match step {
            Step::Input(input) => self.input(input),
            Step::Gap(gap) => {
                let (since, until) = (self.wall(gap.since), self.wall(gap.until));
                let Gap { inputs, bytes, .. } = gap;
                self.sink.notice(&Notice::Missing { since, until, inputs, bytes });
                Ok(())
            }
        }
    }

    fn wall(&self, at: KTime) -> WallTime {
        build::wall(self.engine.model(), at)
    }

    fn input(&mut self, input: Input) -> anyhow::Result<()> {
        self.last = process_of(&input).or(self.last);
        if self.told_from.is_none() && (self.since.moment.is_none() || self.since.is_past(&input)) {
            self.told_from = Some(self.engine.model().now());
        }
        let (mut changes, mut commands) = (Vec::new(), Vec::new());
        self.engine.feed(input, &mut changes, &mut commands);
        if changes.is_empty() || self.told_from.is_none() {
            return Ok(());
        }
        for change in changes {
            if let Some(said) = said(&self.engine, &change) {
                self.tell(&said)?;
            }
        }
        Ok(())
    }

    fn tell(&mut self, said: &Said) -> anyhow::Result<()> {
        let told = match said {
            Said::Opened(finding) => self.sink.opened(finding),
            Said::Updated(finding) => self.sink.updated(finding),
            Said::Resolved(finding) => self.sink.resolved(finding),
            // Nobody is there to act on a wish.
            Said::Wants(_) | Said::RecordingStopped(_) => Ok(()),
        };
        told.context("cannot write what was found")
    }

    fn finish(mut self, ended: &Ended) -> anyhow::Result<SummaryView> {
        let process = self.last.context("no process is in the recording")?;
        let mut changes = Vec::new();
        self.engine.tell_rest(process, &mut changes);
        for change in changes {
            if let Some(said) = said(&self.engine, &change) {
                self.tell(&said)?;
            }
        }
        if let Some((at, at_most, why)) = &ended.notice {
            let at = self.wall(*at);
            self.sink.notice(&Notice::BrokeOff { at, at_most: *at_most, why: why.clone() });
        }
        build::summary(&mut self.engine, process, &ended.words)
            .context("the process of the recording is not known to the model")
    }
}
