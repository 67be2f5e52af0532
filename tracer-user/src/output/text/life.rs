//! One task's life, a line an event. May use: view.

use std::io::{self, Write};

use super::page::{Line, Page, TextOptions, Tint};
use super::summary::loss;
use super::words::{counted, place};
use crate::base::Frame;
use crate::view::WallTime;
use crate::view::life::{LifeEvent, LifeView, NamedBy};

/// Writes a life.
///
/// # Errors
/// The writer's.
pub fn write_life(out: &mut dyn Write, options: &TextOptions, life: &LifeView) -> io::Result<()> {
    let mut page = Page::new(out, options);
    let head = format!("goroutine {}: {}", life.id, counted(life.events.len() as u64, "event"));
    page.words(0, Tint::Strong, &head)?;
    if life.left_out > 0 {
        let words = format!("{} before these left out", counted(life.left_out, "event"));
        page.words(2, Tint::Faint, &words)?;
    }
    for (at, event) in &life.events {
        let (tint, words) = told(event);
        let line = Line::new().add(Tint::Faint, &time(*at, options)).add(Tint::Plain, "  ");
        page.line(&line.add(tint, &words))?;
    }
    Ok(())
}

/// To the microsecond: the events of a task follow one another fast.
fn time(at: WallTime, options: &TextOptions) -> String {
    let moment = jiff::Timestamp::from_nanosecond(i128::from(at.0));
    moment.map_or_else(
        |_| "?".to_owned(),
        |t| t.to_zoned(options.zone.clone()).strftime("%H:%M:%S%.6f").to_string(),
    )
}

fn told(event: &LifeEvent) -> (Tint, String) {
    let who = |id: &Option<u64>| id.map_or_else(String::new, |id| format!(" by {id}"));
    match event {
        LifeEvent::Born { parent, spawn_site, start } => {
            let at = named(spawn_site.as_deref(), " at ");
            let runs =
                start.as_deref().map_or_else(String::new, |f| format!(", runs {}", f.function));
            (Tint::Good, format!("born{}{at}{runs}", who(parent)))
        }
        LifeEvent::Parked { reason } => (Tint::Plain, format!("parks: {reason}")),
        LifeEvent::Readied { by } => (Tint::Plain, format!("woken{}", who(by))),
        LifeEvent::Ran => (Tint::Plain, "runs".to_owned()),
        LifeEvent::Waited { lasted, reason, by } => {
            (Tint::Plain, format!("runs after {lasted} of waiting ({reason}){}", woken(by)))
        }
        LifeEvent::Called { call, lasted, result, outcome, woken } => {
            let woke = match woken {
                0 => String::new(),
                woken => format!(", woke {}", counted(*woken, "thread")),
            };
            (Tint::Plain, format!("{call} returns {result} after {lasted}: {outcome}{woke}"))
        }
        LifeEvent::Bore { task } => (Tint::Plain, format!("creates {task}")),
        LifeEvent::Woke { task } => (Tint::Plain, format!("wakes {task}")),
        LifeEvent::Seen { state, reason, wait_site } => {
            let doing = if reason.is_empty() { state.word() } else { reason };
            (Tint::Plain, format!("seen: {doing}{}", named(wait_site.as_deref(), " at ")))
        }
        LifeEvent::Gone => (Tint::Warn, "not there any more".to_owned()),
        LifeEvent::Named { finding, kind, change } => {
            let change = match change {
                NamedBy::Opened => "found",
                NamedBy::Updated => "found again",
                NamedBy::Resolved => "resolved",
            };
            (Tint::Bad, format!("{change}: {}, finding {finding}", kind.word()))
        }
        LifeEvent::Stopped { lasted } => {
            (Tint::Faint, format!("all stand still for the garbage collector, {lasted}"))
        }
        LifeEvent::Lost { kind, count } => {
            (Tint::Warn, format!("{} lost: {}", counted(*count, "record"), loss(*kind)))
        }
        LifeEvent::Ended => (Tint::Good, "ends".to_owned()),
    }
}

fn woken(by: &Option<u64>) -> String {
    by.map_or_else(String::new, |by| format!(", woken by {by}"))
}

fn named(frame: Option<&Frame>, before: &str) -> String {
    frame.map_or_else(String::new, |frame| match place(frame) {
        place if place.is_empty() => format!("{before}{}", frame.function),
        place => format!("{before}{} {place}", frame.function),
    })
}
