//! Through a recording, input by input, up to a moment.

use crate::base::{KTime, Nanos};
use crate::pipeline::settings::Moment;
use crate::record::{Gap, Item, Recording};
use crate::stream::Input;

use super::Progress;

/// How a walk ended.
pub struct Ended {
    /// Why, in words.
    pub words: String,
    /// Where it broke off: the last moment, what is missing at most, and why where that is known.
    pub notice: Option<(KTime, Nanos, Option<String>)>,
}

/// What a walk meets.
pub enum Step {
    /// An input.
    Input(Input),
    /// Something is missing.
    Gap(Gap),
}

/// Goes through a recording up to a moment.
///
/// # Errors
/// If it cannot be read, and those of `each`.
pub fn walk(
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
    ///
    /// # Errors
    /// If the recording cannot be read.
    pub fn new(recording: &Recording, moment: Option<Moment>) -> anyhow::Result<Self> {
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
    pub fn is_past(&mut self, input: &Input) -> bool {
        if let (Some(Moment::Wall(wall)), Input::ClockAnchor { mono, wall_ns }) =
            (self.moment, input)
        {
            let at = i128::from(mono.0) + i128::from(wall) - i128::from(*wall_ns);
            self.at = Some(KTime(u64::try_from(at.max(0)).unwrap_or(u64::MAX)));
        }
        self.at.is_some_and(|until| input.time().is_some_and(|at| at > until))
    }

    /// Where it lies; None if everything is before it.
    pub const fn moment(&self) -> Option<KTime> {
        self.at
    }

    /// Whether everything is before it.
    pub const fn is_unbounded(&self) -> bool {
        self.moment.is_none()
    }
}
