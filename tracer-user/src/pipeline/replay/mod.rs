//! A recording through model and detectors: the same inputs, so the same findings.

mod diff;
mod export;
mod life;
mod walk;

use std::path::Path;

use anyhow::Context as _;

use crate::base::{KTime, Nanos, ProcId};
use crate::model::Model;
use crate::record::{Gap, Item, Recording};
use crate::stream::Input;
use crate::view::recording::{RecordingEnd, RecordingView, SortView};
use crate::view::watch::{Notice, WatchSink};
use crate::view::{DumpView, SummaryView, WallTime, build};

use super::settings::{Moment, ReportSettings};
use super::teller::{Teller, Told};
use super::watch::{detectors, named_idle};
pub use diff::diff;
pub use export::{Exported, export, inputs};
pub use life::life;
use walk::{Ended, Step, Until, walk};

/// Is told how much of a recording was read: bytes, of how many.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64);

/// What a recording holds, without a look at most of it.
///
/// # Errors
/// If it cannot be read.
pub fn overview(path: &Path) -> anyhow::Result<RecordingView> {
    let recording = Recording::open(path)?;
    let all = recording.overview()?;
    let mut model = Model::new();
    let mut process = None;
    let mut items = recording.items();
    // Both are among the first inputs; where they are not, they are missing.
    while process.is_none() || model.wall_ns(KTime(0)).is_none() {
        let Some(item) = items.next_item()? else { break };
        let Item::Inputs(inputs) = item else { continue };
        for input in inputs {
            match &input {
                Input::ProcessDef(def) if process.is_none() => {
                    process = Some(build::described(def));
                }
                Input::ClockAnchor { .. } => model.apply(input, &mut Vec::new()),
                _ => {}
            }
        }
    }
    let meta = recording.meta();
    let counted: u64 = all.totals.iter().map(|(_, inputs, _)| inputs).sum();
    let sorts = all.totals.iter().map(|(sort, inputs, bytes)| SortView { sort, inputs, bytes });
    Ok(RecordingView {
        path: path.display().to_string(),
        version: recording.version(),
        writer: meta.writer.clone(),
        redacted: meta.redacted,
        settings: meta.settings.clone(),
        process,
        from: build::wall(&model, all.from),
        until: build::wall(&model, all.until),
        lasted: all.until.since(all.from),
        end: match (all.closed, all.stopped) {
            (Some(why), _) => RecordingEnd::Closed(why),
            (None, Some(why)) => RecordingEnd::Stopped(why),
            (None, None) => RecordingEnd::BrokeOff { at_most: Nanos(meta.flush_ns) },
        },
        segments: all.segments,
        bytes: all.bytes,
        raw_bytes: all.raw_bytes,
        inputs: all.inputs,
        events: all.events,
        removed_inputs: all.removed_inputs,
        damaged_bytes: all.damaged,
        sorts: if counted == all.inputs { sorts.collect() } else { Vec::new() },
    })
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
    let thresholds = settings.thresholds(recording.meta());
    let expectations = &settings.expectations;
    let detectors = detectors(&thresholds, expectations);
    let mut telling = Telling {
        teller: Teller::new(detectors, expectations.acknowledged.clone()),
        sink,
        since: Until::new(&recording, settings.since)?,
        tells: Tells::NotYet,
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
    build::dump(&model, process, &named_idle())
        .context("no look at all tasks is in the recording up to this moment; take a later one")
}

const fn process_of(input: &Input) -> Option<ProcId> {
    match input {
        Input::ProcessDef(def) => Some(def.process),
        _ => None,
    }
}

/// A replay that is told as a watch is.
struct Telling<'a> {
    teller: Teller,
    sink: &'a mut dyn WatchSink,
    since: Until,
    /// Whether findings are told by now.
    tells: Tells,
    last: Option<ProcId>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Tells {
    NotYet,
    FromNowOn,
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
        build::wall(self.teller.engine().model(), at)
    }

    fn input(&mut self, input: Input) -> anyhow::Result<()> {
        self.last = process_of(&input).or(self.last);
        if self.since.is_unbounded() || self.since.is_past(&input) {
            self.tells = Tells::FromNowOn;
        }
        // Nobody is there to act on a wish.
        let (mut told, mut commands) = (Vec::new(), Vec::new());
        self.teller.feed(input, &mut told, &mut commands);
        if self.tells == Tells::FromNowOn { self.tell(&told) } else { Ok(()) }
    }

    fn tell(&mut self, told: &[Told]) -> anyhow::Result<()> {
        told.iter().try_for_each(|news| news.to(self.sink)).context("cannot write what was found")
    }

    fn finish(mut self, ended: &Ended) -> anyhow::Result<SummaryView> {
        let process = self.last.context("no process is in the recording")?;
        let mut told = Vec::new();
        let summary = self.teller.summary(process, &ended.words, &mut told);
        self.tell(&told)?;
        if let Some((at, at_most, why)) = &ended.notice {
            let at = self.wall(*at);
            self.sink.notice(&Notice::BrokeOff { at, at_most: *at_most, why: why.clone() });
        }
        summary.context("the process of the recording is not known to the model")
    }
}
