//! The end of a watch or diagnosis: what was seen, what was lost, what is known idle.
//! May use: view.

use std::io::{self, Write};

use super::page::{Line, Page, TextOptions, Tint};
use super::process::{name, noun, short};
use super::stack::frame_lines;
use super::words::{count, counted, mode, moment};
use crate::base::Nanos;
use crate::stream::LossKind;
use crate::view::delivery::DeliveryView;
use crate::view::{CostView, SummaryView};

/// Most spawn sites listed in text.
const SITES: usize = 8;

/// Writes the summary.
///
/// # Errors
/// The writer's.
pub fn write_summary(
    out: &mut dyn Write,
    options: &TextOptions,
    summary: &SummaryView,
) -> io::Result<()> {
    let mut page = Page::new(out, options);
    let noun = noun(&summary.process);
    let (tint, verdict) = match summary.findings.all() {
        0 => nothing(summary),
        n if n == summary.findings.suspect => {
            (Tint::Warn, format!("{}, none more than suspect", counted(n, "finding")))
        }
        n => (Tint::Bad, counted(n, "finding")),
    };
    page.line(
        &Line::new()
            .add(tint, &verdict)
            .add(Tint::Plain, &format!(" in {}", short(&summary.process))),
    )?;
    let watched = format!(
        "for {}, until {}: {}",
        summary.watched,
        moment(summary.ended_at, &options.zone),
        summary.ended
    );
    page.field_words("watched", Tint::Plain, &watched)?;
    page.field_words(
        "by",
        Tint::Plain,
        &format!("{}, {}", counted(summary.looks.into(), "look"), modes(summary)),
    )?;
    let lives = match (summary.births, summary.deaths) {
        (Some(b), Some(d)) => {
            format!(
                "{} alive; {} born, {} ended while watched",
                counted(summary.alive, noun),
                count(b),
                count(d)
            )
        }
        _ => format!("{} alive", counted(summary.alive, noun)),
    };
    page.field_words("tasks", Tint::Plain, &lives)?;
    write_losses(&mut page, summary)?;
    if let Some(cost) = &summary.cost {
        page.field_words("cost", Tint::Plain, &cost_words(cost))?;
    }
    for reason in &summary.process.degraded {
        page.field_words("degraded", Tint::Warn, reason)?;
    }
    write_acknowledged(&mut page, summary)?;
    write_idle(&mut page, summary)?;
    write_thread_waits(&mut page, summary)?;
    write_thread_calls(&mut page, summary)?;
    write_deliveries(&mut page, summary)?;
    write_sites(&mut page, summary)
}

/// That nothing was found is good only where somebody has looked.
fn nothing(summary: &SummaryView) -> (Tint, String) {
    match summary.looks {
        0 => (
            Tint::Warn,
            "it ended before the first look: nothing can be said of what is stuck".into(),
        ),
        _ => (Tint::Good, "nothing stuck was found".into()),
    }
}

/// Writes the summary of one process of many: what it came to, on one line.
///
/// # Errors
/// The writer's.
pub fn write_summary_line(
    out: &mut dyn Write,
    options: &TextOptions,
    summary: &SummaryView,
) -> io::Result<()> {
    let (tint, verdict) = match summary.findings.all() {
        0 => nothing(summary),
        n => (Tint::Bad, counted(n, "finding")),
    };
    let who = format!("{}[{}]: ", name(&summary.process.exe), summary.process.pid);
    let lost: u64 = summary.lost.iter().fold(0, |sum, (_, n)| sum.saturating_add(*n));
    let lost = if lost > 0 { format!(", {} lost", counted(lost, "record")) } else { String::new() };
    let rest = format!(
        "; {}, watched for {}; {} alive{lost}",
        summary.ended,
        summary.watched,
        counted(summary.alive, noun(&summary.process)),
    );
    let mut page = Page::new(out, options);
    page.line(&Line::new().add(Tint::Plain, &who).add(tint, &verdict).add(Tint::Plain, &rest))
}

/// What was followed, and for how long each where that changed.
fn modes(summary: &SummaryView) -> String {
    if summary.modes.len() < 2 {
        return mode(summary.mode).to_owned();
    }
    let times = summary.modes.iter().rev().map(|(mode, time)| format!("{} {time}", mode.word()));
    format!("events {} (to keep the budget)", times.collect::<Vec<_>>().join(", "))
}

fn cost_words(cost: &CostView) -> String {
    let part = |time: Nanos| time.0 as f64 / (cost.over.0.max(1)) as f64 * 100.0;
    format!(
        "{:.2} % of a CPU by {} in the target, {:.2} % by loiter; the target used {:.1} %, the budget is {} %",
        part(cost.probes),
        counted(cost.hits, "hit"),
        part(cost.loiter),
        part(cost.target),
        cost.budget * 100.0,
    )
}

/// What a kind of loss means.
pub fn loss(kind: LossKind) -> &'static str {
    match kind {
        LossKind::RingFull => "the ring buffer was full (a larger --ring-size helps)",
        LossKind::MapFull => "a kernel map was full",
        LossKind::UserRead => "the target's memory could not be read by a probe",
        LossKind::Recursion => {
            "a probe was not run: it was hit inside another BPF program, or the scheduler did not tell"
        }
        LossKind::Malformed => "a record made no sense",
        LossKind::Recording => "the recording is damaged",
    }
}

fn write_losses(page: &mut Page, summary: &SummaryView) -> io::Result<()> {
    let lost: Vec<&(LossKind, u64)> = summary.lost.iter().filter(|(_, n)| *n > 0).collect();
    if lost.is_empty() {
        return page.field_words("lost", Tint::Plain, "nothing");
    }
    for (i, (kind, n)) in lost.into_iter().enumerate() {
        let text = format!("{}: {}", counted(*n, "record"), loss(*kind));
        page.field_words(if i == 0 { "lost" } else { "" }, Tint::Warn, &text)?;
    }
    Ok(())
}

fn write_acknowledged(page: &mut Page, summary: &SummaryView) -> io::Result<()> {
    let all = &summary.acknowledged;
    if all.is_empty() {
        return Ok(());
    }
    let text = format!("{} acknowledged, not told:", counted(all.len() as u64, "finding"));
    page.field_words("known", Tint::Plain, &text)?;
    for one in all {
        let by = &one.acknowledgement;
        let site = one.wait_site.as_deref().map_or("an unknown place", |f| &f.function);
        let note = if by.note.is_empty() { String::new() } else { format!(" ({})", by.note) };
        let text = format!(
            "{} {}: {} at {site}, by {} until {}{note}",
            one.kind.word(),
            by.id,
            counted(one.count, noun(&summary.process)),
            by.owner,
            by.until
        );
        page.field_words("", Tint::Plain, &text)?;
    }
    Ok(())
}

fn write_idle(page: &mut Page, summary: &SummaryView) -> io::Result<()> {
    for (i, idle) in summary.idle.iter().enumerate() {
        let text = format!(
            "{}: {} ({})",
            idle.name,
            counted(idle.count, noun(&summary.process)),
            idle.why
        );
        page.field_words(if i == 0 { "known idle" } else { "" }, Tint::Plain, &text)?;
    }
    Ok(())
}

/// What threads waited for.
fn write_thread_waits(page: &mut Page, summary: &SummaryView) -> io::Result<()> {
    for (i, waits) in summary.thread_waits.iter().take(SITES).enumerate() {
        let subject = subject(waits.subject);
        let text = format!(
            "{}{subject}: {}, {} in all",
            waits.reason,
            counted(waits.count, "wait"),
            waits.total
        );
        page.field_words(if i == 0 { "waited" } else { "" }, Tint::Plain, &text)?;
    }
    Ok(())
}

fn subject(subject: Option<(&'static str, u64)>) -> String {
    match subject {
        Some(("futex", address)) => format!(" at {address:#x}"),
        Some((kind, number)) => format!(" on {kind} {number}"),
        None => String::new(),
    }
}

/// Which system calls threads made, and how they ended.
fn write_thread_calls(page: &mut Page, summary: &SummaryView) -> io::Result<()> {
    for (i, calls) in summary.thread_calls.iter().take(SITES).enumerate() {
        let operation = calls.operation.map_or_else(String::new, |name| format!(" {name}"));
        let mut parts: Vec<String> = calls
            .outcomes
            .iter()
            .filter(|(word, count)| *word != "done" && *count > 0)
            .map(|(word, count)| format!("{count} {word}"))
            .collect();
        let awake = calls.count.saturating_sub(calls.slept);
        if awake > 0 {
            parts.push(format!("{awake} did not block"));
        }
        if calls.woken > 0 {
            parts.push(format!("{} woken", counted(calls.woken, "thread")));
        }
        let how = if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) };
        let text = format!(
            "{}{operation}{}: {}{how}, {} in all",
            calls.call,
            subject(calls.subject),
            counted(calls.count, "call"),
            calls.total
        );
        page.field_words(if i == 0 { "called" } else { "" }, Tint::Plain, &text)?;
    }
    Ok(())
}

/// What became of what was sent elsewhere.
fn write_deliveries(page: &mut Page, summary: &SummaryView) -> io::Result<()> {
    for (i, delivery) in summary.deliveries.iter().enumerate() {
        let text = delivered(delivery);
        page.field_words(if i == 0 { "sent" } else { "" }, Tint::Plain, &text)?;
    }
    Ok(())
}

/// `webhook: 7 delivered, 1 dropped`
pub(super) fn delivered(delivery: &DeliveryView) -> String {
    let (to, sent) = (delivery.to.word(), count(delivery.sent));
    let mut text = format!("{to}: {sent} delivered");
    for (n, word) in [(delivery.failed, "failed"), (delivery.dropped, "dropped")] {
        if n > 0 {
            text.push_str(&format!(", {} {word}", count(n)));
        }
    }
    text
}

/// Where tasks come from; without events there are no births to tell of.
fn write_sites(page: &mut Page, summary: &SummaryView) -> io::Result<()> {
    let sites = &summary.spawn_sites;
    if sites.is_empty() {
        return Ok(());
    }
    let numbers = |born: &str, ended: &str, alive: &str| match summary.births {
        Some(_) => format!("{born:>10} {ended:>10} {alive:>10}  "),
        None => format!("{alive:>10}  "),
    };
    let heads = numbers("born", "ended", "alive");
    page.line(&Line::new().add(Tint::Faint, &heads).add(Tint::Faint, "spawn site"))?;
    for site in sites.iter().take(SITES) {
        let lead = numbers(&count(site.births), &count(site.deaths), &count(site.alive));
        for (i, line) in frame_lines(&site.site, page.room(lead.len())).into_iter().enumerate() {
            let lead = if i == 0 { lead.clone() } else { " ".repeat(lead.len()) };
            page.line(&Line::new().add(Tint::Plain, &lead).join(line))?;
        }
    }
    if sites.len() > SITES {
        page.words(2, Tint::Faint, &format!("and {} more", sites.len() - SITES))?;
    }
    Ok(())
}
