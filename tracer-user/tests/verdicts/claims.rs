//! What has to be said of each program.

use crate::told::{Confidence, Said, Told};

/// What loiter follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    All,
    Lifecycle,
    None,
    /// What the usual budget allows, which changes.
    Budget,
}

impl Mode {
    pub const ALL: [Mode; 4] = [Mode::All, Mode::Lifecycle, Mode::None, Mode::Budget];

    /// The arguments for it.
    pub fn args(self) -> [&'static str; 2] {
        match self {
            Mode::All | Mode::Lifecycle | Mode::None => ["--events", self.word()],
            Mode::Budget => ["--budget", "1%"],
        }
    }

    /// Whether all events that it is called after are followed from the beginning to the end.
    pub fn is_steady(self) -> bool {
        matches!(self, Mode::All | Mode::Lifecycle)
    }

    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Mode::All => "all",
            Mode::Lifecycle => "lifecycle",
            Mode::None => "none",
            Mode::Budget => "budget",
        }
    }
}

/// What has to be said of a program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Claim {
    /// It leaks, by this pattern.
    Leaks(String),
    /// It is mended: nothing is to be said.
    Silent,
    /// It waits long and is right, or what it loses is no goroutine.
    AtMostSuspect,
}

/// Programs whose pattern has another name.
const PATTERNS: [(&str, &str); 1] = [("context-done", "context-never-cancelled")];

/// What heaps up timers loses no goroutine.
const NO_GOROUTINE: &str = "time-after-in-loop";

/// Hundreds of programs and watches share the processors here: who is said to starve does.
const STARVED: &str = "starved";

impl Claim {
    /// The claim about a program of workloads/go/leaks.
    pub fn of(name: &str, twin: &str) -> Claim {
        match twin {
            "fixed" => Claim::Silent,
            "leak" if name != NO_GOROUTINE => {
                let other = PATTERNS.iter().find(|(program, _)| *program == name);
                Claim::Leaks(other.map_or(name, |(_, pattern)| pattern).to_owned())
            }
            _ => Claim::AtMostSuspect,
        }
    }
}

/// One program in one mode.
pub struct Row {
    pub name: String,
    pub mode: Mode,
    pub claim: Claim,
    pub told: Result<Said, String>,
}

impl Row {
    /// The line that the verdict rests on: for a leak the surest that names it, else the surest that does not, else the surest of all.
    pub fn verdict(&self) -> Option<&Told> {
        let said = self.told.as_ref().ok()?;
        let named = match &self.claim {
            Claim::Leaks(pattern) => said.surest(|told| told.pattern.as_deref() == Some(pattern)),
            Claim::Silent | Claim::AtMostSuspect => None,
        };
        named.or_else(|| said.surest(|told| told.kind != STARVED))
    }

    /// Whether the claim holds.
    ///
    /// # Errors
    /// What was said instead.
    pub fn check(&self) -> Result<(), String> {
        let fault = |what: &str| Err(format!("{} ({}): {what}", self.name, self.mode.word()));
        if let Err(why) = &self.told {
            return fault(why);
        }
        match (&self.claim, self.verdict()) {
            (Claim::Leaks(_), None) => fault("not found"),
            (Claim::Leaks(pattern), Some(told)) => {
                if told.pattern.as_ref() != Some(pattern) {
                    return fault(&format!("not named {pattern}, but {:?}", told.pattern));
                }
                if self.mode.is_steady() && told.confidence < Confidence::Likely {
                    return fault(&format!("only suspect: {:?}", told.reasons));
                }
                Ok(())
            }
            (Claim::Silent, Some(told)) => {
                fault(&format!("{} where nothing is wrong: {:?}", told.kind, told.reasons))
            }
            (Claim::AtMostSuspect, Some(told)) if told.confidence > Confidence::Suspect => {
                fault(&format!("{} {}: {:?}", told.confidence.word(), told.kind, told.reasons))
            }
            (Claim::Silent | Claim::AtMostSuspect, _) => Ok(()),
        }
    }
}
