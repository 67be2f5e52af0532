//! A recording for other tools: its inputs as they are, or as a timeline of slices.

use std::path::Path;

use anyhow::Context as _;

use crate::base::{KTime, ProcId};
use crate::detect::Settings;
use crate::model::Model;
use crate::pipeline::settings::{Expectations, Moment as Bound, Thresholds};
use crate::pipeline::teller::{Teller, Told};
use crate::pipeline::watch::{detectors, named_idle};
use crate::record::{Gap, Recording};
use crate::stream::{EndHow, Input};
use crate::view::recording::{InputSink, Missing};
use crate::view::timeline::{FindingChange, Moment, Slice, Timeline, TimelineSink};
use crate::view::{DumpView, FindingView, SummaryView, WallTime, build};

use super::walk::{Step, Until, walk};
use super::{Progress, process_of};

/// What a replay leaves at its end.
pub struct Exported {
    /// Of the process told of last.
    pub summary: SummaryView,
    /// Its findings that are open.
    pub open: Vec<FindingView>,
    /// Its tasks as they were; None without a look.
    pub dump: Option<DumpView>,
    /// Why it ended, where the recording breaks off.
    pub broke_off: Option<String>,
}

/// Replays a recording, and tells its timeline between two moments.
///
/// # Errors
/// If it cannot be read, or the sink cannot be told any more.
pub fn export(
    path: &Path,
    (since, until): (Option<Bound>, Option<Bound>),
    sink: &mut dyn TimelineSink,
    progress: Progress<'_>,
) -> anyhow::Result<Exported> {
    let recording = Recording::open(path)?;
    let thresholds = Thresholds::of_recording(recording.meta());
    let detectors = detectors(&thresholds, &Expectations::default());
    let mut telling = Telling::new(detectors, Until::new(&recording, since)?, sink);
    let mut until = Until::new(&recording, until)?;
    let ended = walk(&recording, &mut until, progress, &mut |step| match step {
        Step::Input(input) => telling.input(input),
        // The reader has told the model of it, as a loss.
        Step::Gap(_) => Ok(()),
    })?;
    telling.finish(&ended.words, ended.notice.map(|(.., why)| why.unwrap_or_default()))
}

struct Telling<'a> {
    teller: Teller,
    timeline: Timeline,
    sink: &'a mut dyn TimelineSink,
    since: Until,
    /// From when on it is told; None = not yet.
    from: Option<KTime>,
    last: Option<ProcId>,
    /// Processes of which nothing was told yet.
    waiting: Vec<ProcId>,
    moments: Vec<Moment<'static>>,
}

impl<'a> Telling<'a> {
    fn new(detectors: Settings, since: Until, sink: &'a mut dyn TimelineSink) -> Self {
        let from = since.is_unbounded().then_some(KTime(0));
        Self {
            teller: Teller::new(detectors, Default::default()),
            timeline: Timeline::new(),
            sink,
            since,
            from,
            last: None,
            waiting: Vec::new(),
            moments: Vec::new(),
        }
    }

    fn model(&self) -> &Model {
        self.teller.engine().model()
    }

    fn input(&mut self, input: Input) -> anyhow::Result<()> {
        if let Some(process) = process_of(&input) {
            self.last = Some(process);
            self.waiting.push(process);
        }
        if self.from.is_none() && self.since.is_past(&input) {
            self.from = self.since.moment();
        }
        self.timeline.before(self.teller.engine().model(), &input);
        let also = Also::of(&input);
        let (mut told, mut commands) = (Vec::new(), Vec::new());
        self.teller.feed(input, &mut told, &mut commands);
        let mut moments = std::mem::take(&mut self.moments);
        self.timeline.after(self.teller.engine().model(), &mut moments);
        for moment in moments.drain(..) {
            self.tell(&moment)?;
        }
        self.moments = moments;
        if let Some(also) = &also {
            self.tell(&also.moment())?;
        }
        self.findings(&told)
    }

    /// Introduces processes before anything is told of them. The clocks are tied by one of the first inputs.
    fn introduce(&mut self) -> anyhow::Result<()> {
        let Some(from) = self.from else { return Ok(()) };
        for process in std::mem::take(&mut self.waiting) {
            let model = self.teller.engine().model();
            let Some(whose) = model.process(process) else { continue };
            let at = whose.def().at.max(from);
            let (wall, view) = (model.wall_ns(at).map(WallTime), build::process(whose));
            let moment = Moment::Process { process, at, wall, view: &view };
            self.sink.moment(&moment, model.names()).context("cannot write the export")?;
        }
        Ok(())
    }

    fn findings(&mut self, told: &[Told]) -> anyhow::Result<()> {
        let at = self.model().now();
        let Some(process) = self.last else { return Ok(()) };
        for news in told {
            let (change, finding) = match news {
                Told::Opened(finding) => (FindingChange::Opened, finding),
                Told::Updated(finding) => (FindingChange::Updated, finding),
                Told::Resolved(finding) => (FindingChange::Resolved, finding),
            };
            self.tell(&Moment::Finding { process, at, change, finding })?;
        }
        Ok(())
    }

    /// Tells what lies in the time asked for.
    fn tell(&mut self, moment: &Moment<'_>) -> anyhow::Result<()> {
        let Some(from) = self.from else { return Ok(()) };
        self.introduce()?;
        let names = self.teller.engine().model().names();
        let told = match moment {
            Moment::Slice(slice) if slice.until < from => return Ok(()),
            Moment::Slice(slice) if slice.since < from => {
                let clipped =
                    Slice { since: from, began: crate::view::Exactness::AtLeast, ..*slice };
                self.sink.moment(&Moment::Slice(clipped), names)
            }
            other => self.sink.moment(other, names),
        };
        told.context("cannot write the export")
    }

    fn finish(mut self, words: &str, broke_off: Option<String>) -> anyhow::Result<Exported> {
        let process = self.last.context("no process is in the recording")?;
        let mut told = Vec::new();
        let summary = self.teller.summary(process, words, &mut told);
        let summary = summary.context("the process of the recording is not known to the model")?;
        self.findings(&told)?;
        let mut moments = Vec::new();
        self.timeline.finish(self.teller.engine().model(), &mut moments);
        for moment in &moments {
            self.tell(moment)?;
        }
        let (engine, model) = (self.teller.engine(), self.model());
        let open = engine.open(process);
        Ok(Exported {
            summary,
            open: open.into_iter().filter_map(|f| build::finding(model, f)).collect(),
            dump: build::dump(model, process, &named_idle()),
            broke_off,
        })
    }
}

/// What is told as it is in the input.
enum Also {
    Whole(Moment<'static>),
    Mode { process: ProcId, at: KTime, mode: crate::stream::Mode, why: Box<str> },
}

impl Also {
    fn of(input: &Input) -> Option<Self> {
        Some(match input {
            Input::Loss(loss) => Also::Whole(Moment::Loss(*loss)),
            &Input::Memory { process, at, rss_bytes, limit_bytes } => {
                Also::Whole(Moment::Memory { process, at, rss_bytes, limit_bytes })
            }
            &Input::ProcessEnd { process, at, how } => {
                Also::Whole(Moment::ProcessEnd { process, at, how })
            }
            Input::Event(event) if event.kind == crate::stream::EventKind::Exec => {
                let (process, at) = (event.process, event.at);
                Also::Whole(Moment::ProcessEnd { process, at, how: EndHow::Exec })
            }
            Input::ModeChange { process, at, mode, why } => {
                Also::Mode { process: *process, at: *at, mode: *mode, why: why.clone() }
            }
            _ => return None,
        })
    }

    fn moment(&self) -> Moment<'_> {
        match self {
            Also::Whole(moment) => moment.clone(),
            Also::Mode { process, at, mode, why } => {
                Moment::Mode { process: *process, at: *at, mode: *mode, why }
            }
        }
    }
}

/// Tells the inputs of a recording between two moments. What defines names and processes is told also where
/// it lies before.
///
/// # Errors
/// If it cannot be read, or the sink cannot be told any more.
pub fn inputs(
    path: &Path,
    (since, until): (Option<Bound>, Option<Bound>),
    sink: &mut dyn InputSink,
    progress: Progress<'_>,
) -> anyhow::Result<()> {
    let recording = Recording::open(path)?;
    let mut since = Until::new(&recording, since)?;
    let mut until = Until::new(&recording, until)?;
    let mut names = Model::new();
    let mut begun = since.is_unbounded();
    walk(&recording, &mut until, progress, &mut |step| {
        let input = match step {
            Step::Gap(Gap { inputs, bytes, since, until }) => {
                let missing = Missing { inputs, bytes, since, until };
                return sink.missing(&missing).context("cannot write the export");
            }
            Step::Input(input) => input,
        };
        begun = begun || since.is_past(&input);
        let defines = matches!(
            input,
            Input::NameDef { .. }
                | Input::StackDef { .. }
                | Input::ReasonDef { .. }
                | Input::ClockAnchor { .. }
                | Input::ProcessDef(_)
        );
        if defines {
            names.apply(input.clone(), &mut Vec::new());
        }
        if begun || defines {
            let wall = input.time().and_then(|at| names.wall_ns(at)).map(WallTime);
            sink.input(&input, wall, names.names()).context("cannot write the export")?;
        }
        Ok(())
    })?;
    Ok(())
}
