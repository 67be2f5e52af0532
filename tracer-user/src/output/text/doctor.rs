//! What this machine allows and what tracing a process would take and cost. May use: view.

use std::io::{self, Write};

use super::page::{Line, Page, TextOptions, Tint};
use super::process::{noun, write_head};
use super::words::{counted, mode};
use crate::base::Nanos;
use crate::stream::Mode;
use crate::view::doctor::{CheckState, CheckView, DoctorView, SiteView, TargetPlanView};

/// Columns of the state words and of the names of checks.
const STATE: usize = 11;
const NAME: usize = 34;

/// Writes the answer.
///
/// # Errors
/// The writer's.
pub fn write_doctor(
    out: &mut dyn Write,
    options: &TextOptions,
    view: &DoctorView,
) -> io::Result<()> {
    let mut page = Page::new(out, options);
    let mut host = format!("kernel {} {}", view.kernel, view.machine);
    if !view.surroundings.is_empty() {
        host = format!("{host}, in {}", view.surroundings.join(", "));
    }
    page.line(&Line::new().add(Tint::Strong, &host))?;
    write_checks(&mut page, "features", &view.features)?;
    write_checks(&mut page, "rights", &view.rights)?;
    if let Some(target) = &view.target {
        page.blank()?;
        write_target(&mut page, target)?;
    }
    page.blank()?;
    let (tint, verdict) = if view.can_trace() {
        (Tint::Good, "loiter can trace here")
    } else {
        (Tint::Bad, "loiter cannot trace here: see what is missing above")
    };
    page.line(&Line::new().add(tint, verdict))
}

fn write_checks(page: &mut Page, title: &str, checks: &[CheckView]) -> io::Result<()> {
    if checks.is_empty() {
        return Ok(());
    }
    page.line(&Line::new().add(Tint::Faint, title))?;
    for check in checks {
        let (tint, word) = match &check.state {
            CheckState::Ok { .. } => (Tint::Good, "ok"),
            CheckState::Without { .. } => (Tint::Warn, "without"),
            CheckState::Missing { .. } => (Tint::Bad, "missing"),
        };
        let line = Line::new()
            .add(Tint::Plain, "  ")
            .add(tint, word)
            .pad_to(STATE)
            .add(Tint::Strong, &check.name);
        let line = match &check.state {
            CheckState::Ok { detail } if !detail.is_empty() => {
                line.pad_to(NAME).add(Tint::Faint, detail)
            }
            CheckState::Ok { .. } => line,
            _ => line.pad_to(NAME).add(Tint::Plain, &check.needed_for),
        };
        page.line(&line)?;
        match &check.state {
            CheckState::Ok { .. } => {}
            CheckState::Without { instead, remedy } => {
                write_note(page, "instead", instead)?;
                write_note(page, "remedy", remedy)?;
            }
            CheckState::Missing { cause, remedy } => {
                write_note(page, "cause", cause)?;
                write_note(page, "remedy", remedy)?;
            }
        }
    }
    Ok(())
}

fn write_note(page: &mut Page, label: &str, text: &str) -> io::Result<()> {
    if text.is_empty() {
        Ok(())
    } else {
        page.words(STATE, Tint::Plain, &format!("{label}: {text}"))
    }
}

fn write_target(page: &mut Page, target: &TargetPlanView) -> io::Result<()> {
    write_head(page, &target.process)?;
    if let Some(tasks) = target.tasks {
        let mut text = counted(tasks, noun(&target.process));
        if let Some(took) = target.look_took {
            text = format!("{text}; a look at all of them takes {took}");
        }
        page.field_words("tasks", Tint::Plain, &text)?;
    }
    if let Some(sleeps) = &target.sleeps {
        let text = format!(
            "{} a second, counted over {}: following the waits of its threads (--events all) takes at most {:.2} % of a CPU; births and deaths next to nothing",
            rounded(sleeps.per_second),
            sleeps.measured_for,
            sleeps.cpus() * 100.0
        );
        return page.field_words("sleeps", Tint::Plain, &text);
    }
    page.blank()?;
    page.line(&Line::new().add(
        Tint::Strong,
        &format!("probe plan: {}", counted(target.sites.len() as u64, "site")),
    ))?;
    for site in &target.sites {
        write_site(page, site, target.measured_for)?;
    }
    for gap in &target.degraded {
        page.field_words(&gap.kind, Tint::Warn, &format!("degraded: {}", gap.reason))?;
    }
    write_cost(page, target)
}

fn write_site(page: &mut Page, site: &SiteView, measured: Option<Nanos>) -> io::Result<()> {
    let offset = site
        .function_offset
        .map_or_else(|| format!(" at {:#x}", site.address), |o| format!("+{o:#x}"));
    let place = Line::new().add(Tint::Name, &site.function).add(Tint::Plain, &offset);
    page.field(&site.kind, place)?;
    let what = format!("{}; the goroutine is in {}", site.instruction, site.location);
    page.field_words("", Tint::Plain, &what)?;
    page.field_words("", Tint::Faint, &format!("why: {}", site.why))?;
    if let Some(over) = measured
        && let (Some(rate), Some(cpus)) = (site.hits_per_second(over), site.cpus(over))
    {
        page.field_words("", Tint::Plain, &load(rate, cpus))?;
    }
    Ok(())
}

fn write_cost(page: &mut Page, target: &TargetPlanView) -> io::Result<()> {
    page.blank()?;
    let title = match target.measured_for {
        Some(over) => format!("expected cost, from hits counted over {over}"),
        None => "expected cost: not measured (--measure 2s counts the hits)".to_owned(),
    };
    page.line(&Line::new().add(Tint::Strong, &title))?;
    for m in [Mode::None, Mode::Lifecycle, Mode::All] {
        let cost = match (m, target.cost(m)) {
            (Mode::None, _) => "no probe, no cost to the target".to_owned(),
            (_, Some((rate, cpus))) => load(rate, cpus),
            (_, None) => continue,
        };
        let line = Line::new().add(Tint::Plain, &format!("  --events {:<11}", m.word()));
        page.line(&line.add(Tint::Strong, &cost).add(Tint::Faint, &format!(" ({})", mode(m))))?;
    }
    Ok(())
}

fn rounded(rate: f64) -> String {
    if rate >= 10.0 { super::words::count(rate.round() as u64) } else { format!("{rate:.1}") }
}

fn load(rate: f64, cpus: f64) -> String {
    if rate <= 0.0 {
        return "not hit".to_owned();
    }
    format!("{} hits/s: {}", rounded(rate), cpu_share(cpus))
}

fn cpu_share(cpus: f64) -> String {
    match cpus {
        c if c < 0.0001 => "less than 0.01 % of a CPU".to_owned(),
        c if c < 0.1 => format!("{:.2} % of a CPU", c * 100.0),
        c if c < 1.0 => format!("{:.0} % of a CPU", c * 100.0),
        c => format!("{c:.1} CPUs"),
    }
}
