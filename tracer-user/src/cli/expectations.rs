//! What the user knows of the program, from flags and files: what waits by nature, what is
//! acknowledged, and how sure a finding must be to be told, or to fail. For every command that
//! judges. May use: cli::exit, pipeline::settings and its parsers.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::exit;
use crate::base::IdlePattern;
use crate::pipeline::settings::Expectations;
use crate::pipeline::{baseline, idle_list};
use crate::view::{Acknowledgements, Confidence};

/// How sure, as it is typed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Sure {
    /// May be normal
    Suspect,
    /// Probably wrong
    Likely,
    /// Wrong
    Certain,
}

impl Sure {
    /// The detectors' word.
    pub const fn confidence(self) -> Confidence {
        match self {
            Sure::Suspect => Confidence::Suspect,
            Sure::Likely => Confidence::Likely,
            Sure::Certain => Confidence::Certain,
        }
    }
}

/// What is normal and what is known, and from when on that fails a look at a program that runs.
#[derive(Args, Debug)]
#[command(next_help_heading = "What is normal, and what counts")]
pub struct ExpectationArgs {
    #[command(flatten)]
    known: KnownArgs,

    /// Exit with 1 if a finding is open at the end that is at least this sure: suspect, likely or certain
    #[arg(long, value_enum, default_value = "likely", value_name = "HOW")]
    #[arg(hide_possible_values = true)]
    fail_on: Sure,
}

/// What is normal and what is known.
#[derive(Args, Debug)]
#[command(next_help_heading = "What is normal, and what counts")]
pub struct KnownArgs {
    /// Goroutines with FUNCTION on their stack wait by nature: never flagged, and listed as NAME.
    /// A `*` at the end stands for any ending; may be given many times
    #[arg(long, value_name = "FUNCTION[=NAME]", value_parser = idle)]
    idle: Vec<IdlePattern>,

    /// A file of such functions, one FUNCTION or FUNCTION = NAME a line; # begins a comment
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    idle_file: Vec<PathBuf>,

    /// A file of findings that are acknowledged until a day: neither told nor counted (docs/baseline.md)
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    baseline: Option<PathBuf>,

    /// Tell only of findings that are at least this sure: suspect, likely or certain
    #[arg(long, value_enum, default_value = "suspect", value_name = "HOW")]
    #[arg(hide_possible_values = true)]
    min_confidence: Sure,
}

fn idle(text: &str) -> Result<IdlePattern, String> {
    idle_list::entry(text, "named idle by --idle")
}

impl ExpectationArgs {
    /// From this confidence on a finding makes the command fail.
    pub const fn fail_on(&self) -> Confidence {
        self.fail_on.confidence()
    }

    /// Reads the files.
    ///
    /// # Errors
    /// A usage error that names file, line and cause.
    pub fn read(&self) -> anyhow::Result<Expectations> {
        self.known.read()
    }
}

impl KnownArgs {
    /// Reads the files.
    ///
    /// # Errors
    /// A usage error that names file, line and cause.
    pub fn read(&self) -> anyhow::Result<Expectations> {
        let mut idle = self.idle.clone();
        for path in &self.idle_file {
            let name = path.display();
            let text = text_of(path, "idle list")?
                .ok_or_else(|| exit::usage(format!("there is no idle list {name}")))?;
            let entries = idle_list::parse(&text, &name.to_string())
                .map_err(|e| exit::usage(format!("cannot use the idle list {name}: {e}")))?;
            idle.extend(entries);
        }
        let acknowledged = match &self.baseline {
            None => Acknowledgements::default(),
            Some(path) => {
                let text = text_of(path, "baseline")?.ok_or_else(|| {
                    exit::usage(format!(
                        "there is no baseline {}; `loiter diagnose --write-baseline` makes one",
                        path.display()
                    ))
                })?;
                acknowledged(path, &text)?
            }
        };
        Ok(Expectations { idle, acknowledged, least_confidence: self.min_confidence.confidence() })
    }
}

/// What a baseline says.
///
/// # Errors
/// A usage error that names file, line and cause.
pub fn acknowledged(path: &Path, text: &str) -> anyhow::Result<Acknowledgements> {
    baseline::parse(text)
        .map_err(|e| exit::usage(format!("cannot use the baseline {}: {e}", path.display())))
}

/// The text of a file that a person wrote; None if there is no such file.
///
/// # Errors
/// A usage error that names it.
pub fn text_of(path: &Path, what: &str) -> anyhow::Result<Option<String>> {
    let refuse = |why: &dyn std::fmt::Display| {
        exit::usage(format!("cannot read the {what} {}: {why}", path.display()))
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(refuse(&e)),
    };
    let mut bytes = Vec::new();
    file.take(baseline::MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|e| refuse(&e))?;
    if bytes.len() as u64 > baseline::MAX_BYTES {
        return Err(refuse(&format!("it is larger than {} bytes", baseline::MAX_BYTES)));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(_) => Err(refuse(&"it is not UTF-8 text")),
    }
}
