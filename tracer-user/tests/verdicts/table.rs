//! The tables that the tests print.

use std::fmt::Write as _;

use crate::claims::Row;
use crate::told::Told;

/// Program, mode, and what was said: how sure, seconds to it, kind, pattern, tasks.
pub fn verdicts(rows: &[Row]) -> String {
    let mut page = format!(
        "{:42} {:10} {:8} {:>8} {:>6}  {:17} {:32} {}\n",
        "program", "events", "verdict", "after", "tasks", "kind", "pattern", ""
    );
    for row in rows {
        let mark = if row.check().is_ok() { "" } else { "WRONG" };
        let line = match row.verdict() {
            Some(told) => verdict(told),
            None => format!("{:8} {:>8} {:>6}  {:17} {:32}", "-", "", "", "", ""),
        };
        let _ = writeln!(page, "{:42} {:10} {line} {mark}", row.name, row.mode.word());
    }
    page
}

fn verdict(told: &Told) -> String {
    let pattern = told.pattern.as_deref().unwrap_or("-");
    let (sure, after) = (told.confidence.word(), format!("{:.1} s", told.after));
    format!("{sure:8} {after:>8} {:>6}  {:17} {pattern:32}", told.count, told.kind)
}
