//! `cargo xtask layers`: no layer of tracer-user uses a higher one, and the rules that can be checked by
//! reading the source hold. The table is in `rules`, and in ARCHITECTURE.md in words.

mod lexer;
mod paths;
mod rules;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::go;

/// Longer files are named.
const LONG_FILE: usize = 600;
/// Longer files are errors.
const TOO_LONG_FILE: usize = 800;
/// Generated files say this in their first lines, and may be long.
const GENERATED: &str = "do not edit";

/// A rule that is broken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// The file, from the root of the workspace.
    pub file: String,
    /// The line.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

/// `cargo xtask layers`
///
/// # Errors
/// If a rule is broken; each is printed.
pub fn run() -> Result<()> {
    let root = go::workspace();
    let mut files = Vec::new();
    for dir in ["tracer-common", "tracer-ebpf", "tracer-user", "xtask"] {
        rust_files(&root.join(dir), &mut files)?;
    }
    files.sort();
    let mut faults = Vec::new();
    for file in &files {
        let text =
            fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let name = file.strip_prefix(&root).unwrap_or(file).to_string_lossy().into_owned();
        faults.extend(check_length(&name, &text));
        if let Some(inside) = name.strip_prefix("tracer-user/src/") {
            faults.extend(rules::check(inside, &text).into_iter().map(|(line, what)| Fault {
                file: name.clone(),
                line,
                what,
            }));
        }
    }
    for fault in &faults {
        eprintln!("{fault}");
    }
    if !faults.is_empty() {
        bail!("{} faults: see the table in ARCHITECTURE.md", faults.len());
    }
    println!("layers: {} files, no fault", files.len());
    Ok(())
}

fn check_length(name: &str, text: &str) -> Option<Fault> {
    let lines = text.lines().count();
    let generated = text.lines().take(5).any(|line| line.contains(GENERATED));
    if lines <= LONG_FILE || generated {
        return None;
    }
    let what = format!("{lines} lines: about {LONG_FILE} is a file, more is two");
    if lines <= TOO_LONG_FILE {
        eprintln!("warning: {name}: {what}");
        return None;
    }
    Some(Fault { file: name.to_owned(), line: lines, what })
}

fn rust_files(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    for entry in entries {
        let path = entry.with_context(|| format!("cannot read {}", dir.display()))?.path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                rust_files(&path, files)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_too_long_only_if_a_person_wrote_it() {
        let long = "x\n".repeat(TOO_LONG_FILE + 1);
        assert!(check_length("a.rs", &long).is_some());
        assert!(
            check_length("a.rs", &format!("//! Made by a tool; do not edit.\n{long}")).is_none()
        );
        assert!(check_length("a.rs", &"x\n".repeat(LONG_FILE)).is_none());
    }
}
