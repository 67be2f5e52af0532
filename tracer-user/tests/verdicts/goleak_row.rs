//! What is found of one program of Go's own leak suite, beside what Go's test expects of it.

use std::fmt::Write as _;

use crate::claims::Mode;
use crate::goleak::{Case, Own, own_dump};
use crate::told::{Confidence, Said, Told};

/// One expected leak.
struct Expected {
    leak: String,
    /// Goroutines that leaked so, by the program's own dump.
    leaked: usize,
    /// Those of them that were told at the line where they wait, and how sure the least sure was.
    found: usize,
    least: Option<Confidence>,
    after: f64,
}

/// One program in one mode.
pub struct Row {
    name: String,
    flaky: bool,
    mode: Mode,
    expected: Vec<Expected>,
    /// Findings more than suspect about goroutines that no expectation names.
    beyond: Vec<String>,
    fault: Option<String>,
}

impl Row {
    /// Compares.
    pub fn new(case: &Case, mode: Mode, said: &Result<Said, String>, dump: &[String]) -> Row {
        let own = own_dump(dump);
        let mut row = Row {
            name: case.name.clone(),
            flaky: case.flaky,
            mode,
            expected: Vec::new(),
            beyond: Vec::new(),
            fault: own.is_empty().then(|| "it has not lived until the end".to_owned()),
        };
        let told = match said {
            Ok(said) => &said.told[..],
            Err(why) => {
                row.fault = Some(why.clone());
                return row;
            }
        };
        for leak in &case.leaks {
            let leaked = own.iter().filter(|one| leak.is_match(&one.signature()));
            row.expected.push(expected(leak.as_str(), leaked, told));
        }
        let named = |id: &u64| {
            own.iter().any(|o| o.id == *id && case.leaks.iter().any(|l| l.is_match(&o.signature())))
        };
        let sure = told.iter().filter(|told| told.confidence > Confidence::Suspect);
        for told in sure.filter(|told| !told.tasks.iter().any(named)) {
            let (function, line) = &told.wait_site;
            row.beyond.push(format!("{} {} {function}:{line}", told.confidence.word(), told.kind));
        }
        row
    }

    /// Whether every leak that the expectations name is found, and nothing else is told as more than suspect. Of flaky programs nothing is
    /// claimed.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<(), String> {
        let name = format!("{} ({})", self.name, self.mode.word());
        if self.flaky {
            return Ok(());
        }
        if let Some(fault) = &self.fault {
            return Err(format!("{name}: {fault}"));
        }
        if let Some(missed) = self.expected.iter().find(|e| e.found < e.leaked.max(1)) {
            let Expected { leak, leaked, found, .. } = missed;
            return Err(format!("{name}: {leak}: {found} found of {leaked}"));
        }
        match self.beyond.first() {
            Some(told) => Err(format!("{name}: beyond what is expected: {told}")),
            None => Ok(()),
        }
    }
}

fn expected<'a>(leak: &str, leaked: impl Iterator<Item = &'a Own>, told: &[Told]) -> Expected {
    let mut row = Expected { leak: leak.to_owned(), leaked: 0, found: 0, least: None, after: 0.0 };
    for own in leaked {
        row.leaked += 1;
        // A finding lists no more than so many of its tasks, and tells how many there are.
        let listed =
            |told: &Told| told.tasks.contains(&own.id) || told.count > told.tasks.len() as u64;
        let about = |told: &&Told| listed(told) && own.frames.contains(&told.wait_site);
        let Some(surest) = told.iter().filter(about).max_by_key(|told| told.confidence) else {
            continue;
        };
        row.found += 1;
        row.least = Some(row.least.map_or(surest.confidence, |least| least.min(surest.confidence)));
        row.after = row.after.max(surest.after);
    }
    row
}

/// Program, mode, and for each expected leak how many leaked, how many were found, how sure. The flaky ones come last.
pub fn table(rows: &[Row]) -> String {
    let mut page = String::new();
    for flaky in [false, true] {
        let of_kind = || rows.iter().filter(|row| row.flaky == flaky);
        let total = |count: fn(&Expected) -> usize| -> usize {
            of_kind().flat_map(|row| &row.expected).map(count).sum()
        };
        let _ = writeln!(
            page,
            "{}: {} of {} leaked goroutines found; {} findings beyond",
            if flaky { "flaky programs" } else { "programs" },
            total(|e| e.found),
            total(|e| e.leaked),
            of_kind().map(|row| row.beyond.len()).sum::<usize>(),
        );
        of_kind().for_each(|row| lines(&mut page, row));
    }
    page
}

fn lines(page: &mut String, row: &Row) {
    let head = format!("{:26} {:10}", row.name, row.mode.word());
    let mark = if row.check().is_ok() { "" } else { "  WRONG" };
    for e in &row.expected {
        let sure = e.least.map_or("-", Confidence::word);
        let Expected { leak, leaked, found, after, .. } = e;
        let _ = writeln!(page, "{head} {found}/{leaked} {sure:8} {after:5.1} s  {leak}{mark}");
    }
    if row.expected.is_empty() {
        let _ = writeln!(page, "{head} nothing expected{mark}");
    }
    for told in &row.beyond {
        let _ = writeln!(page, "{head} beyond: {told}");
    }
    if let Some(fault) = &row.fault {
        let _ = writeln!(page, "{head} {fault}");
    }
}
