//! Two moments compared: dumps, or moments of recordings.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::Path;

use anyhow::Context as _;

use crate::pipeline::settings::MomentOf;
use crate::view::WallTime;
use crate::view::diff::{DiffView, Place, Population, Site};

use super::{Progress, dump_recording};

/// Largest dump read: a million goroutines take about 500 MB.
const MAX_DUMP: u64 = 2 << 30;

/// Compares two moments.
///
/// # Errors
/// If one of them cannot be read.
pub fn diff(
    before: &MomentOf,
    after: &MomentOf,
    progress: Progress<'_>,
) -> anyhow::Result<DiffView> {
    let before = population(before, progress)?;
    Ok(DiffView::new(before, population(after, progress)?))
}

fn population(of: &MomentOf, progress: Progress<'_>) -> anyhow::Result<Population> {
    let path = &of.path;
    if is_dump(path)? {
        anyhow::ensure!(of.at.is_none(), "{} is a dump: it has one moment only", path.display());
        return read_dump(path)
            .with_context(|| format!("{} is no dump that can be read", path.display()));
    }
    let dump = dump_recording(path, of.at, progress)?;
    Ok(Population::of_dump(&dump, path.display().to_string()))
}

/// A dump is JSON, an object.
fn is_dump(path: &Path) -> anyhow::Result<bool> {
    let cannot = || format!("cannot open {}", path.display());
    if std::fs::metadata(path).with_context(cannot)?.is_dir() {
        return Ok(false);
    }
    let mut first = [0];
    let n = File::open(path).and_then(|mut f| f.read(&mut first)).with_context(cannot)?;
    Ok(n == 1 && first == *b"{")
}

/// What is read of `loiter.dump/1`.
#[derive(serde::Deserialize)]
struct Dump {
    schema: String,
    process: Process,
    taken_at: Option<String>,
    tasks: Vec<Task>,
}

#[derive(serde::Deserialize)]
struct Process {
    exe: String,
    build: Build,
}

#[derive(serde::Deserialize)]
struct Build {
    build_id: Option<String>,
}

#[derive(serde::Deserialize)]
struct Task {
    state: String,
    wait_reason: Option<String>,
    system: bool,
    created_by: Option<JsonSite>,
    wait_site: Option<JsonSite>,
}

#[derive(serde::Deserialize)]
struct JsonSite {
    function: String,
    file: Option<String>,
    line: Option<u32>,
}

impl From<JsonSite> for Site {
    fn from(site: JsonSite) -> Self {
        Self {
            function: site.function,
            file: site.file.unwrap_or_default(),
            line: site.line.unwrap_or(0),
        }
    }
}

fn read_dump(path: &Path) -> anyhow::Result<Population> {
    let file = BufReader::new(File::open(path)?.take(MAX_DUMP));
    let dump: Dump = serde_json::from_reader(file)?;
    anyhow::ensure!(dump.schema == "loiter.dump/1", "its schema is {}", dump.schema);
    let mut tasks = BTreeMap::new();
    for task in dump.tasks.into_iter().filter(|t| !t.system) {
        let place = Place {
            spawn_site: task.created_by.map(Site::from),
            wait_site: task.wait_site.map(Site::from),
            doing: task.wait_reason.unwrap_or(task.state),
        };
        *tasks.entry(place).or_default() += 1;
    }
    let at = dump.taken_at.and_then(|at| at.parse::<jiff::Timestamp>().ok());
    let at = at.and_then(|at| i64::try_from(at.as_nanosecond()).ok()).map(WallTime);
    Ok(Population {
        of: path.display().to_string(),
        exe: dump.process.exe,
        build_id: dump.process.build.build_id,
        at,
        tasks,
    })
}
