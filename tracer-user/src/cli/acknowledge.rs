//! `--write-baseline` of `diagnose` and `check`: puts what was found on record as known, with an owner and a
//! day. What the file holds already stays as it is, to the byte.
//! May use: cli::{destination, exit, expectations}, pipeline::baseline.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::Args;
use jiff::civil::Date;
use jiff::{Timestamp, ToSpan as _, tz::TimeZone};

use super::destination::{Destination, Touch};
use super::exit;
use super::expectations::{acknowledged, text_of};
use crate::pipeline::baseline::{self, Found, Promise};
use crate::view::watch::{Notice, WatchSink, Who};
use crate::view::{Acknowledgements, FindingView, SummaryView};

/// A finding is silent for this long unless a day is given: about a quarter, in which somebody
/// should have had the time.
const DAYS: i32 = 90;

/// Who acknowledges what is found.
#[derive(Args, Debug)]
#[command(next_help_heading = "To acknowledge what is found")]
pub struct AcknowledgeArgs {
    /// Add what is found to this baseline file; what it holds already stays. The exit code is then 0
    #[arg(long, value_name = "FILE", requires = "owner", conflicts_with = "baseline")]
    #[arg(value_hint = clap::ValueHint::FilePath)]
    write_baseline: Option<PathBuf>,

    /// Who answers for these findings: a person, a team, a ticket
    #[arg(long, value_name = "NAME", requires = "write_baseline", value_parser = owner)]
    owner: Option<String>,

    /// The last day on which they are silent [default: in 90 days]
    #[arg(long, value_name = "YYYY-MM-DD", requires = "write_baseline", value_parser = day)]
    until: Option<Date>,
}

fn owner(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("somebody has to answer for a finding: a person, a team, a ticket".to_owned()),
        name if name.len() > 200 => Err("at most 200 bytes".to_owned()),
        name => Ok(name.to_owned()),
    }
}

fn day(text: &str) -> Result<Date, String> {
    const WANTED: &str = "a day is written YYYY-MM-DD, such as 2027-01-31";
    let date = text.parse::<Date>().map_err(|_| WANTED.to_owned())?;
    if date < today() { Err("this day has passed".to_owned()) } else { Ok(date) }
}

fn today() -> Date {
    Timestamp::now().to_zoned(TimeZone::UTC).date()
}

/// A baseline that is going to be written, checked before any work is done.
pub struct Record {
    path: PathBuf,
    to: Destination,
    old: String,
    promise: Promise,
    /// What it acknowledges already.
    pub known: Acknowledgements,
}

impl AcknowledgeArgs {
    /// None unless it is asked for.
    ///
    /// # Errors
    /// A usage error if the file holds no baseline or cannot be written.
    pub fn record(&self) -> anyhow::Result<Option<Record>> {
        let (Some(path), Some(owner)) = (&self.write_baseline, &self.owner) else {
            return Ok(None);
        };
        let old = text_of(path, "baseline")?.unwrap_or_default();
        let known = acknowledged(path, &old)?;
        let to = Destination::new(Some(path), Touch::AtEnd)?;
        let until = match self.until {
            Some(day) => day,
            None => today().checked_add(DAYS.days()).unwrap_or(Date::MAX),
        };
        let promise = Promise { owner: owner.clone(), until };
        Ok(Some(Record { path: path.clone(), to, old, promise, known }))
    }
}

impl Record {
    /// Writes the file; what happened, in words.
    ///
    /// # Errors
    /// If it could not be written; it is then as it was.
    pub fn write<'f>(
        mut self,
        open: impl IntoIterator<Item = &'f FindingView>,
    ) -> anyhow::Result<String> {
        let found: Vec<Found> = open.into_iter().map(Found::new).collect();
        let (text, added) = baseline::with_added(&self.old, &found, &self.promise)
            .map_err(|e| exit::usage(format!("{}: {e}", self.path.display())))?;
        let expired = found.len().saturating_sub(added);
        let name = self.path.display().to_string();
        if added > 0 {
            self.to.write_all(text.as_bytes())?;
            self.to.finish()?;
        }
        let until = self.promise.until;
        let noun = if added == 1 { "finding" } else { "findings" };
        let mut words =
            format!("{added} {noun} added to {name}, by {} until {until}", self.promise.owner);
        if expired > 0 {
            words = format!(
                "{words}; {expired} are there already and have expired: change `until` there"
            );
        }
        Ok(words)
    }
}

/// Passes everything on, and keeps the findings that are open.
pub struct OpenFindings<'a> {
    inner: &'a mut dyn WatchSink,
    open: BTreeMap<String, FindingView>,
}

impl<'a> OpenFindings<'a> {
    /// Before this sink.
    pub fn before(inner: &'a mut dyn WatchSink) -> Self {
        Self { inner, open: BTreeMap::new() }
    }

    /// The findings that are open.
    pub fn all(&self) -> impl Iterator<Item = &FindingView> {
        self.open.values()
    }
}

impl WatchSink for OpenFindings<'_> {
    fn opened(&mut self, finding: &FindingView) -> io::Result<()> {
        self.open.insert(finding.id.clone(), finding.clone());
        self.inner.opened(finding)
    }

    fn updated(&mut self, finding: &FindingView) -> io::Result<()> {
        self.open.insert(finding.id.clone(), finding.clone());
        self.inner.updated(finding)
    }

    fn resolved(&mut self, finding: &FindingView) -> io::Result<()> {
        self.open.remove(&finding.id);
        self.inner.resolved(finding)
    }

    fn notice(&mut self, notice: &Notice) {
        self.inner.notice(notice);
    }

    fn notice_of(&mut self, who: &Who, notice: &Notice) {
        self.inner.notice_of(who, notice);
    }

    fn ended(&mut self, summary: &SummaryView) -> io::Result<()> {
        self.inner.ended(summary)
    }
}
