//! The flight recorder: the last minutes are kept all the time in a ring of segments, and when
//! something happens - a finding, the target's end, too many tasks, a signal, a command - what is in the
//! ring is frozen together with what follows for a while. Here is decided when; the thread that
//! writes does it (`record::Recorder::freeze`).

mod control;
mod gauge;
mod home;

use std::path::PathBuf;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

pub use control::freeze;
pub use gauge::Gauge;

use crate::base::KTime;
use crate::record::{Done, Kept, Place, RecordError, RecorderSettings};

use super::clock;
use super::settings::{FlightSettings, Trigger};
use control::{Asker, Control};
use home::{Home, Left};

/// Most reasons that one recording names.
const MOST_REASONS: usize = 8;

/// Why something is to be frozen.
#[derive(Debug)]
pub struct Cause {
    /// In the name of the recording: one word.
    pub word: &'static str,
    /// For a person.
    pub why: String,
    /// Who asked, if it was a command.
    asker: Option<Asker>,
}

impl Cause {
    /// What a watch saw by itself.
    pub const fn seen(word: &'static str, why: String) -> Self {
        Self { word, why, asker: None }
    }
}

/// Whether a cause is held back when it comes soon after another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Patience {
    /// Machines may ask all the time.
    Limited,
    /// A person asked, or it is the last chance.
    None,
}

impl Cause {
    fn patience(&self) -> Patience {
        match self.word {
            "signal" | "command" | "exit" => Patience::None,
            _ => Patience::Limited,
        }
    }
}

/// What the flight recorder waited for.
#[derive(Debug)]
pub enum Happened {
    /// Somebody asks.
    Asked(Cause),
    /// What follows a cause has been recorded as well.
    Due,
    /// What was in the ring is kept, or not.
    Begun(Result<(), RecordError>),
    /// All of it is.
    Ended(Result<Kept, RecordError>),
}

/// What is to be told.
#[derive(Debug)]
pub enum News {
    /// Something is being kept.
    Begun {
        /// Where.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// All of it is there.
    Kept {
        /// Where.
        path: PathBuf,
        /// How much.
        kept: Kept,
        /// How many causes came since the last time and were held back.
        held_back: u64,
    },
    /// It cannot be kept.
    Failed(anyhow::Error),
}

/// What is being kept.
struct Freeze {
    path: PathBuf,
    reasons: Vec<String>,
    more_reasons: u64,
    askers: Vec<Asker>,
    /// What comes later is not kept.
    until: KTime,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Until [`Freeze::until`].
    Following,
    /// The end is on its way.
    Ending,
}

impl Freeze {
    fn why(&self) -> String {
        let mut why = format!("frozen: {}", self.reasons.join("; "));
        if self.more_reasons > 0 {
            why.push_str(&format!("; and {} more", self.more_reasons));
        }
        why
    }
}

/// See the module.
pub struct Flight {
    settings: FlightSettings,
    home: Home,
    signal: Signal,
    control: Control,
    now: Option<Freeze>,
    begun_at: Option<KTime>,
    held_back: u64,
    answers: mpsc::UnboundedReceiver<Happened>,
    answer: mpsc::UnboundedSender<Happened>,
}

impl Flight {
    /// Takes its directory; inside the tokio runtime. Tells where what an earlier one left is kept.
    ///
    /// # Errors
    /// If the directory cannot be had.
    pub fn start(settings: FlightSettings) -> anyhow::Result<(Self, Option<PathBuf>)> {
        let signal =
            signal(SignalKind::user_defined1()).context("cannot install a signal handler")?;
        let (home, left) = Home::open(&settings.dir)?;
        home.retain(settings.retention, None)?;
        let control = Control::open(home.path(), home.dir())?;
        let (answer, answers) = mpsc::unbounded_channel();
        let flight = Self {
            settings,
            home,
            signal,
            control,
            now: None,
            begun_at: None,
            held_back: 0,
            answers,
            answer,
        };
        let left = match left {
            Left::Nothing => None,
            Left::Kept(path) => Some(path),
        };
        Ok((flight, left))
    }

    /// How the ring is to be recorded.
    pub fn recorder(&self, words: Vec<(String, String)>) -> RecorderSettings {
        RecorderSettings {
            place: Place::Directory(self.home.ring()),
            limits: self.settings.limits,
            content: self.settings.content,
            flush: RecorderSettings::FLUSH,
            writer: self.settings.writer.clone(),
            settings: words,
        }
    }

    /// Whether this is a cause.
    pub fn wants(&self, trigger: Trigger) -> bool {
        self.settings.triggers.contains(&trigger)
    }

    /// Waits for what happens next. Nothing is lost if the wait is given up.
    pub async fn next(&mut self) -> Happened {
        let due = self.now.as_ref().filter(|f| f.stage == Stage::Following).map(|f| f.until);
        tokio::select! {
            _ = self.signal.recv() => {
                Happened::Asked(Cause::seen("signal", "SIGUSR1 to loiter".to_owned()))
            }
            Some((why, asker)) = self.control.next() => {
                let why = if why.is_empty() { "loiter freeze".to_owned() } else { why };
                Happened::Asked(Cause { word: "command", why, asker: Some(asker) })
            }
            Some(answer) = self.answers.recv() => answer,
            () = until(due) => Happened::Due,
        }
    }

    /// Something happened that is a cause. Some = what is in the ring is to be kept there.
    pub fn begin(
        &mut self,
        cause: Cause,
        wall_ns: i64,
    ) -> Option<Result<(PathBuf, Done<()>), News>> {
        let now = clock::now();
        if let Some(freeze) = self.now.as_mut().filter(|f| f.stage == Stage::Following) {
            freeze.join(cause);
            return None;
        }
        let early = self.begun_at.is_some_and(|at| now.since(at) < self.settings.every);
        if self.now.is_some() || (early && cause.patience() == Patience::Limited) {
            self.held_back += 1;
            if let Some(asker) = &cause.asker {
                asker.refused("another recording is being ended; ask again in a moment");
            }
            return None;
        }
        let Cause { word, why, asker } = cause;
        let path = match self.home.new_frozen(wall_ns, word) {
            Ok(path) => path,
            Err(why) => return Some(Err(News::Failed(why))),
        };
        self.begun_at = Some(now);
        self.now = Some(Freeze {
            path: path.clone(),
            reasons: vec![why],
            more_reasons: 0,
            askers: asker.into_iter().collect(),
            until: now.after(self.settings.after),
            stage: Stage::Following,
        });
        let answer = self.answer.clone();
        // Nobody waits any more when the watch is over.
        Some(Ok((path, Done::new(move |how| drop(answer.send(Happened::Begun(how)))))))
    }

    /// What is in the ring is kept, or not.
    pub fn begun(&mut self, how: Result<(), RecordError>) -> Option<News> {
        if let Err(why) = how {
            return Some(self.fail(why.into()));
        }
        let freeze = self.now.as_ref()?;
        freeze.askers.iter().for_each(|asker| asker.begun(&freeze.path));
        Some(News::Begun { path: freeze.path.clone(), why: freeze.reasons.join("; ") })
    }

    /// What followed is recorded as well: Some = with this reason it may end.
    pub fn due(&mut self) -> Option<(String, Done<Kept>)> {
        let freeze = self.now.as_mut().filter(|freeze| freeze.stage == Stage::Following)?;
        freeze.stage = Stage::Ending;
        let answer = self.answer.clone();
        Some((freeze.why(), Done::new(move |how| drop(answer.send(Happened::Ended(how))))))
    }

    /// All of it is kept, or not.
    pub fn ended(&mut self, how: Result<Kept, RecordError>) -> Option<News> {
        let kept = match how {
            Ok(kept) => kept,
            Err(why) => return Some(self.fail(why.into())),
        };
        let freeze = self.now.take()?;
        freeze.askers.iter().for_each(|asker| asker.kept(&freeze.path));
        if let Err(why) = self.home.retain(self.settings.retention, Some(&freeze.path)) {
            return Some(News::Failed(why));
        }
        let held_back = std::mem::take(&mut self.held_back);
        Some(News::Kept { path: freeze.path, kept, held_back })
    }

    /// Where something is being kept, and the reason of the watch's end as it is to go into it.
    pub fn keeping(&self) -> bool {
        self.now.is_some()
    }

    /// The next answer of the thread that writes; for when the watch is over.
    pub async fn answer(&mut self) -> Option<Happened> {
        self.answers.recv().await
    }

    fn fail(&mut self, why: anyhow::Error) -> News {
        if let Some(freeze) = self.now.take() {
            let words = format!("{why:#}");
            freeze.askers.iter().for_each(|asker| asker.refused(&words));
        }
        News::Failed(why)
    }
}

impl Freeze {
    /// One more reason for the same.
    fn join(&mut self, cause: Cause) {
        if self.reasons.len() < MOST_REASONS {
            self.reasons.push(cause.why);
        } else {
            self.more_reasons += 1;
        }
        if let Some(asker) = cause.asker {
            asker.begun(&self.path);
            self.askers.push(asker);
        }
    }
}

async fn until(due: Option<KTime>) {
    match due {
        Some(due) => tokio::time::sleep(clock::until(clock::now(), due)).await,
        None => std::future::pending().await,
    }
}
