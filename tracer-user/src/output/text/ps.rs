//! A table of the processes that can be traced. May use: view.

use std::io::{self, Write};

use super::page::{Line, Page, TextOptions, Tint, columns, cut_path};
use super::process::housed_in;
use super::words::{count, moment};
use crate::view::ps::{PsRow, PsView, Support};

const HEADS: [&str; 6] = ["PID", "RUNTIME", "TASKS", "TRACEABLE", "STARTED", "CONTAINER"];
const RIGHT: [bool; 6] = [true, false, true, false, false, false];

/// Columns that are left out on a narrow page, in this order: when it started, its container.
const MAY_GO: [usize; 2] = [4, 5];
/// A command cut to less than this says too little.
const MIN_COMMAND: usize = 24;

/// Writes the table.
///
/// # Errors
/// The writer's.
pub fn write_ps(out: &mut dyn Write, options: &TextOptions, view: &PsView) -> io::Result<()> {
    let mut page = Page::new(out, options);
    let rows: Vec<[(Tint, String); 6]> = view.rows.iter().map(|r| cells(r, options)).collect();
    // A column that would be empty from top to bottom is left out.
    let widths: Vec<usize> = (0..HEADS.len())
        .map(|c| {
            let widest =
                rows.iter().filter_map(|r| r.get(c)).map(|(_, t)| columns(t)).max().unwrap_or(0);
            if widest == 0 { 0 } else { widest.max(HEADS.get(c).map_or(0, |h| columns(h))) }
        })
        .collect();
    let widths = fitting(widths, page.room(0));
    let head: Vec<(Tint, String)> = HEADS.iter().map(|h| (Tint::Faint, (*h).to_owned())).collect();
    if !rows.is_empty() {
        page.line(&row(&head, &widths).add(Tint::Faint, "COMMAND"))?;
    }
    for (cells, process) in rows.iter().zip(&view.rows) {
        let line = row(cells, &widths);
        let room = page.room(line.width()).unwrap_or(usize::MAX).max(12);
        page.line(&line.add(Tint::Plain, &cut_path(&process.exe, room)))?;
        if let Support::Degraded(why) | Support::None(why) = &process.support {
            page.words(widths.first().map_or(0, |w| w + 2), Tint::Faint, why)?;
        }
    }
    Ok(())
}

/// Leaves columns out where the command would have no place.
fn fitting(mut widths: Vec<usize>, page: Option<usize>) -> Vec<usize> {
    let Some(page) = page else { return widths };
    for column in MAY_GO {
        let used: usize = widths.iter().filter(|w| **w > 0).map(|w| w + 2).sum();
        if used + MIN_COMMAND > page
            && let Some(width) = widths.get_mut(column)
        {
            *width = 0;
        }
    }
    widths
}

fn row(cells: &[(Tint, String)], widths: &[usize]) -> Line {
    let mut line = Line::new();
    for ((tint, text), (width, right)) in cells.iter().zip(widths.iter().zip(RIGHT)) {
        if *width == 0 {
            continue;
        }
        let pad = " ".repeat(width.saturating_sub(columns(text)));
        let (before, after) = if right { (pad.as_str(), "") } else { ("", pad.as_str()) };
        line = line
            .add(Tint::Plain, before)
            .add(*tint, text)
            .add(Tint::Plain, after)
            .add(Tint::Plain, "  ");
    }
    line
}

fn cells(row: &PsRow, options: &TextOptions) -> [(Tint, String); 6] {
    let version = if row.runtime_version.is_empty() { &row.runtime } else { &row.runtime_version };
    let (tint, support) = match row.support {
        Support::Full => (Tint::Good, "yes"),
        Support::Degraded(_) => (Tint::Warn, "in part"),
        Support::None(_) => (Tint::Bad, "no"),
    };
    let started = row.started.map(|t| moment(t, &options.zone));
    [
        (Tint::Strong, row.pid.to_string()),
        (Tint::Plain, version.clone()),
        (Tint::Plain, row.tasks.map_or_else(|| "?".to_owned(), count)),
        (tint, support.to_owned()),
        (Tint::Faint, started.unwrap_or_default()),
        (Tint::Plain, housed_in(row.container.as_deref(), row.pod.as_ref())),
    ]
}
