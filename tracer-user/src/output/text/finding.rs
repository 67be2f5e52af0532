//! A finding as a person reads it who was woken up for it: what is stuck and how many, where they
//! wait and for what, where they were born, who could have woken them, how sure this is and why.
//! May use: view.

use std::io::{self, Write};

use super::page::{Line, Page, TextOptions, Tint};
use super::process::{build, housing, short};
use super::stack::{frame_field, stack_field};
use super::words::{count, counted, doing, moment, object, place, size, wait_range};
use crate::base::{TaskKind, WaitClass};
use crate::output::{Change, frames};
use crate::view::{
    Climb, Confidence, FindingKind, FindingView, LabelCount, ProcessView, SiteFate, Waited,
    WallTime,
};

/// Most ids, objects and frames that a finding lists.
const IDS: usize = 10;
const OBJECTS: usize = 3;
const FRAMES: usize = 16;

/// Writes a finding: all of it when it is new, later what may have changed.
///
/// # Errors
/// The writer's.
pub fn write_finding(
    out: &mut dyn Write,
    options: &TextOptions,
    finding: &FindingView,
    change: Change,
) -> io::Result<()> {
    let mut page = Page::new(out, options);
    write_title(&mut page, finding, change)?;
    let now = Line::new().add(Tint::Plain, &moment(finding.as_of, &options.zone));
    page.field("seen", now.add(Tint::Faint, &format!("  finding {}", finding.id)))?;
    if change == Change::Resolved {
        return page.blank();
    }
    let mut process = short(&finding.process);
    let FindingView { process: ProcessView { container, pod, .. }, .. } = finding;
    if let Some(housing) = housing(container.as_deref(), pod.as_ref()) {
        process = format!("{process}, {housing}");
    }
    page.field_words("in", Tint::Plain, &process)?;
    if let Some(build) = build(&finding.process.build)
        && change == Change::Opened
    {
        page.field_words("build", Tint::Plain, &build)?;
    }
    if let Some(by) = &finding.expired {
        let text = format!("acknowledged by {} until {}: that day has passed", by.owner, by.until);
        page.field_words("expired", Tint::Warn, &text)?;
    }
    if !finding.tests.is_empty() {
        page.field_words("test", Tint::Strong, &finding.tests.join(", "))?;
    }
    if finding.kind != FindingKind::Leak || finding.wait_class.is_some() {
        write_waits(&mut page, options, finding)?;
    }
    match &finding.wait_site {
        Some(site) => frame_field(&mut page, "wait at", site)?,
        // Of who runs no stack can be read.
        None if finding.kind == FindingKind::Hog => {}
        None => page.field_words("wait at", Tint::Faint, "not known")?,
    }
    match &finding.spawn_site {
        Some(site) => frame_field(&mut page, "born at", site)?,
        None => page.field_words("born at", Tint::Faint, "not known")?,
    }
    write_cycle(&mut page, finding)?;
    write_objects(&mut page, finding)?;
    if change == Change::Updated {
        write_reasons(&mut page, finding)?;
        return page.blank();
    }
    write_past(&mut page, finding)?;
    write_reasons(&mut page, finding)?;
    write_advice(&mut page, finding)?;
    write_tasks(&mut page, finding)?;
    stack_field(&mut page, "one stack", &frames::shown_or_all(&finding.stack), FRAMES)?;
    page.blank()
}

fn write_title(page: &mut Page, finding: &FindingView, change: Change) -> io::Result<()> {
    let tint = match (change, finding.confidence) {
        (Change::Resolved, _) => Tint::Good,
        (_, Confidence::Suspect) => Tint::Warn,
        (_, Confidence::Likely | Confidence::Certain) => Tint::Bad,
    };
    let kind = match finding.kind {
        FindingKind::Stuck => "STUCK",
        FindingKind::Crowd => "CROWD",
        FindingKind::Leak => "LEAK",
        FindingKind::Growth => "GROWTH",
        FindingKind::BlockedForEver => "BLOCKED FOR EVER",
        FindingKind::Hog => "HOG",
        FindingKind::Starved => "STARVED",
        FindingKind::Deadlock => "DEADLOCK",
        FindingKind::LockHeld => "LOCK HELD",
        FindingKind::PoolBlocked => "POOL BLOCKED",
        FindingKind::LostWakeup => "LOST WAKE-UP",
    };
    let tasks = counted(finding.count, finding.task_kind.word());
    let sure = finding.confidence.word();
    let (lead, text) = match change {
        Change::Opened => (format!("{kind}, {sure}: "), format!("{tasks} {}", is_doing(finding))),
        Change::Updated => {
            (format!("{kind}, {sure}, still: "), format!("{tasks} {}", is_doing(finding)))
        }
        Change::Resolved => (format!("{kind}, over: "), format!("{tasks} {}", was_doing(finding))),
    };
    page.line(&Line::new().add(tint, &lead).add(Tint::Strong, &text))
}

/// What the tasks of a finding do, to follow their number.
pub fn is_doing(finding: &FindingView) -> String {
    let one = finding.count == 1;
    let words = match (finding.kind, finding.wait_class) {
        (FindingKind::Deadlock, _) if one => "waits for what it holds itself",
        (FindingKind::Deadlock, _) => "wait for one another",
        (FindingKind::LostWakeup, _) if one => "was not woken",
        (FindingKind::LostWakeup, _) => "were not woken",
        (_, Some(WaitClass::Group)) if finding.task_kind == TaskKind::Thread => {
            return format!("{} for other threads", if one { "waits" } else { "wait" });
        }
        (FindingKind::Hog, _) if one => "runs without a stop",
        (FindingKind::Hog, _) => "run without a stop",
        (FindingKind::Starved, _) if one => "may run and is not let",
        (FindingKind::Starved, _) => "may run and are not let",
        // It may also run, or be in a system call.
        (FindingKind::Leak, None) if one => "goes on and does not end",
        (FindingKind::Leak, None) => "go on and do not end",
        (_, class) => return doing(class, finding.count),
    };
    words.to_owned()
}

fn was_doing(finding: &FindingView) -> String {
    match &*finding.wait_reason {
        "" => "no longer here".to_owned(),
        reason => format!("no longer here in {reason}"),
    }
}

fn write_waits(page: &mut Page, options: &TextOptions, finding: &FindingView) -> io::Result<()> {
    let reason =
        if finding.wait_reason.is_empty() { "reason not known" } else { &finding.wait_reason };
    let range = wait_range(finding.youngest_wait, finding.oldest_wait);
    let (label, mut text) = match finding.kind {
        FindingKind::Hog => ("running", range),
        FindingKind::Starved => ("ready", range),
        _ => ("waiting", format!("{reason}, {range}")),
    };
    if let Some(oldest) = finding.oldest_wait.known() {
        let since = finding.as_of.0.saturating_sub(i64::try_from(oldest.0).unwrap_or(i64::MAX));
        let edge =
            if matches!(finding.oldest_wait, Waited::AtLeast(_)) { " or earlier" } else { "" };
        text = format!("{text}; the oldest since {}{edge}", moment(WallTime(since), &options.zone));
    }
    page.field_words(label, Tint::Plain, &text)
}

fn write_cycle(page: &mut Page, finding: &FindingView) -> io::Result<()> {
    for (i, step) in finding.cycle.iter().enumerate() {
        let on = object(&step.waits_on).unwrap_or_default();
        let at = step.wait_site.as_deref();
        let at = at.map(|f| format!(", at {} {}", f.function, place(f))).unwrap_or_default();
        let runs = step.runs.map(|id| format!(" (goroutine {id})")).unwrap_or_default();
        let text = format!("{} {}{runs} waits for {on}{at}", finding.task_kind.word(), step.id);
        page.field_words(if i == 0 { "circle" } else { "" }, Tint::Plain, text.trim_end())?;
    }
    if finding.bystander_count > 0 {
        let mut ids: Vec<String> =
            finding.bystanders.iter().take(IDS).map(u64::to_string).collect();
        let told = ids.len() as u64;
        if finding.bystander_count > told {
            ids.push(format!("and {} more", count(finding.bystander_count - told)));
        }
        page.field_words("behind it", Tint::Plain, &ids.join(" "))?;
    }
    Ok(())
}

fn write_objects(page: &mut Page, finding: &FindingView) -> io::Result<()> {
    if !finding.cycle.is_empty() {
        return Ok(());
    }
    let known: Vec<(String, u64)> =
        finding.objects.iter().filter_map(|(on, n)| Some((object(on)?, *n))).collect();
    for (i, (object, waiters)) in known.iter().take(OBJECTS).enumerate() {
        let text = format!("{object}: {}", counted(*waiters, "waiter"));
        page.field_words(if i == 0 { "waiting on" } else { "" }, Tint::Plain, &text)?;
    }
    let told = known.len().min(OBJECTS) as u64;
    if told > 0 && finding.object_count > told {
        let more = format!("and {}", counted(finding.object_count - told, "more object"));
        page.field_words("", Tint::Faint, &more)?;
    }
    Ok(())
}

fn write_past(page: &mut Page, finding: &FindingView) -> io::Result<()> {
    let noun = finding.task_kind.word();
    if let Some(waker) = finding.last_waker {
        let fate = if waker.alive { "it still lives" } else { "it has ended since" };
        page.field_words("last woken", Tint::Plain, &format!("by {noun} {}; {fate}", waker.id))?;
    }
    write_ancestors(page, finding)?;
    if let Some(site) = finding.site {
        page.field_words("site", Tint::Plain, &fate(&site))?;
    }
    if let Some(climb) = finding.climb {
        page.field_words("growth", Tint::Plain, &growth(&climb, noun))?;
    }
    if finding.stack_bytes > 0 {
        page.field_words(
            "holds",
            Tint::Plain,
            &format!("{} of stacks", size(finding.stack_bytes)),
        )?;
    }
    Ok(())
}

/// What became of the tasks of a spawn site.
pub fn fate(site: &SiteFate) -> String {
    let born = count(site.births);
    let mut text = format!("{born} born there while watched, {} of them ended", count(site.deaths));
    if let (Some(median), Some(p99)) = (site.median_life, site.p99_life) {
        text = format!("{text}; half lived at most {median}, 99 of 100 at most {p99}");
    }
    text
}

/// How fast there are more of them.
pub fn growth(climb: &Climb, noun: &str) -> String {
    let rate = climb.tasks_per_minute;
    let mut text = format!("{rate:.1} more {noun}s a minute, over {}", climb.over);
    if let Some(memory) = climb.memory {
        let each = size(memory.bytes_per_minute as u64);
        text = format!("{text}; resident memory {}, {each} more a minute", size(memory.rss_bytes));
        if let (Some(limit), Some(ends)) = (memory.limit_bytes, memory.limit_in) {
            text = format!("{text}: the limit of {} is reached in about {ends}", size(limit));
        }
    }
    text
}

fn write_ancestors(page: &mut Page, finding: &FindingView) -> io::Result<()> {
    let noun = finding.task_kind.word();
    for (i, ancestor) in finding.ancestors.iter().enumerate() {
        let fate = if ancestor.alive { "" } else { ", which has ended" };
        let born = match &ancestor.spawn_site {
            Some(site) => format!(", born at {} {}", site.function, place(site)),
            None => String::new(),
        };
        let text = format!("{noun} {}{fate}{born}", ancestor.id);
        page.field_words(if i == 0 { "child of" } else { "" }, Tint::Plain, &text)?;
    }
    Ok(())
}

fn write_advice(page: &mut Page, finding: &FindingView) -> io::Result<()> {
    let Some(advice) = &finding.advice else { return Ok(()) };
    page.field_words("usually", Tint::Plain, &advice.text)?;
    let at = advice.frame.as_ref().map_or(String::new(), |f| format!(", by {}", f.function));
    page.field_words("", Tint::Faint, &format!("pattern {}{at}", advice.pattern))
}

fn write_reasons(page: &mut Page, finding: &FindingView) -> io::Result<()> {
    page.field_items("because", Tint::Plain, finding.reasons.iter().map(String::as_str))
}

fn write_tasks(page: &mut Page, finding: &FindingView) -> io::Result<()> {
    let mut ids: Vec<String> = finding.tasks.iter().take(IDS).map(u64::to_string).collect();
    let told = ids.len() as u64;
    if finding.count > told {
        ids.push(format!("and {} more", count(finding.count - told)));
    }
    if !finding.labels.is_empty() {
        let label = |l: &LabelCount| match l.tasks == finding.count {
            true => format!("{}={}", l.key, l.value),
            false => format!("{}={} ({})", l.key, l.value, count(l.tasks)),
        };
        let labels: Vec<String> = finding.labels.iter().map(label).collect();
        page.field_words("labels", Tint::Plain, &labels.join(", "))?;
    }
    let label = if finding.count == 1 { "id" } else { "ids" };
    page.field_words(label, Tint::Plain, &ids.join(" "))
}
