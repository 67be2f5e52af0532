//! Two moments compared. May use: view.

use std::io::{self, Write};

use super::page::{Line, Page, TextOptions, Tint};
use super::words::{count, counted, moment};
use crate::view::diff::{Change, DiffView, Lines, Population, Site};

/// Writes what came, went and grew.
///
/// # Errors
/// The writer's.
pub fn write_diff(out: &mut dyn Write, options: &TextOptions, diff: &DiffView) -> io::Result<()> {
    let mut page = Page::new(out, options);
    let side = |p: &Population| {
        let at = p.at.map_or_else(String::new, |at| format!(" at {}", moment(at, &options.zone)));
        format!("{}{at}: {}", p.of, counted(p.count(), "task"))
    };
    page.field_words("from", Tint::Plain, &side(&diff.before))?;
    page.field_words("to", Tint::Plain, &side(&diff.after))?;
    if diff.lines == Lines::Ignored {
        let words = "two builds: functions are compared, lines are not";
        page.field_words("builds", Tint::Warn, words)?;
    }
    for change in &diff.changes {
        page.blank()?;
        write_change(&mut page, change)?;
    }
    page.blank()?;
    let same = format!("{} with the same count", counted(diff.unchanged, "place"));
    page.words(0, Tint::Faint, &same)
}

fn write_change(page: &mut Page, change: &Change) -> io::Result<()> {
    let Change { place, before, after } = change;
    let (tint, word) = match (before, after) {
        (0, _) => (Tint::Warn, "came"),
        (_, 0) => (Tint::Good, "went"),
        (before, after) if after > before => (Tint::Bad, "grew"),
        _ => (Tint::Good, "shrank"),
    };
    let sign = if after > before { '+' } else { '-' };
    let line = Line::new()
        .add(tint, &format!("{sign}{}", count(after.abs_diff(*before))))
        .add(Tint::Plain, &format!(" {word}, {} to {}: ", count(*before), count(*after)))
        .add(Tint::Strong, &place.doing);
    page.line(&line)?;
    for (label, site) in [("wait at", &place.wait_site), ("born at", &place.spawn_site)] {
        if let Some(site) = site {
            page.field(label, at(site))?;
        }
    }
    Ok(())
}

fn at(site: &Site) -> Line {
    let line = Line::new().add(Tint::Name, &site.function);
    match (site.file.is_empty(), site.line) {
        (true, _) => line,
        (false, 0) => line.add(Tint::Faint, &format!("  {}", site.file)),
        (false, n) => line.add(Tint::Faint, &format!("  {}:{n}", site.file)),
    }
}
