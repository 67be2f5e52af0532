//! Every task, grouped: what most of them do comes first. May use: view, output::group.

use std::io::{self, Write};
use std::sync::Arc;

use super::page::{Line, Page, TextOptions, Tint};
use super::process::{noun, write_head};
use super::stack::{frame_field, stack_field};
use super::words::{count, counted, moment, object, wait_range};
use crate::base::{Frame, TaskKind, TaskState, Visibility};
use crate::output::group::{Group, GroupBy, group};
use crate::output::{frames, wait_reason};
use crate::view::{DumpView, TaskView};

/// Most ids that a group lists.
const IDS: usize = 8;
/// Most threads that a group lists.
const THREADS: usize = 3;
/// Most objects that a group lists.
const OBJECTS: usize = 3;

/// Writes the groups of a dump. Which tasks are left out is for the caller to say: `left_out` are
/// those of the runtime, which no group has.
///
/// # Errors
/// The writer's.
pub fn write_dump(
    out: &mut dyn Write,
    options: &TextOptions,
    dump: &DumpView,
    tasks: &[&TaskView],
    by: GroupBy,
) -> io::Result<()> {
    let mut page = Page::new(out, options);
    let groups = group(tasks.iter().copied(), by);
    write_head(&mut page, &dump.process)?;
    let what = format!(
        "{} in {}",
        counted(tasks.len() as u64, noun_of(dump, tasks)),
        counted(groups.len() as u64, "group")
    );
    let when = moment(dump.taken_at, &options.zone);
    page.words(0, Tint::Strong, &format!("{what} at {when}, read in {}", dump.outcome.took))?;
    write_left_out(&mut page, dump, tasks)?;
    write_outcome(&mut page, dump)?;
    for group in &groups {
        page.blank()?;
        write_group(&mut page, dump, group, by)?;
    }
    Ok(())
}

/// What to call the tasks of a dump: one name if all are of a kind.
fn noun_of(dump: &DumpView, tasks: &[&TaskView]) -> &'static str {
    match tasks.first() {
        Some(first) if tasks.iter().all(|t| t.kind == first.kind) => first.kind.word(),
        Some(_) => "task",
        None => noun(&dump.process),
    }
}

fn write_left_out(page: &mut Page, dump: &DumpView, tasks: &[&TaskView]) -> io::Result<()> {
    let system = dump.tasks.iter().filter(|t| t.system).count();
    let system_shown = tasks.iter().filter(|t| t.system).count();
    if system > system_shown {
        let n = counted((system - system_shown) as u64, noun(&dump.process));
        page.words(2, Tint::Faint, &format!("{n} of the runtime left out (--system shows them)"))?;
    }
    let filtered =
        dump.tasks.len().saturating_sub(system).saturating_sub(tasks.len() - system_shown);
    if filtered > 0 {
        page.words(
            2,
            Tint::Faint,
            &format!("{} did not match", counted(filtered as u64, noun(&dump.process))),
        )?;
    }
    Ok(())
}

fn write_outcome(page: &mut Page, dump: &DumpView) -> io::Result<()> {
    let outcome = &dump.outcome;
    let notes = [
        (outcome.unreadable, "could not be read"),
        (outcome.truncated, "left out: there are more than loiter reads at once"),
        (outcome.unsettled, "changed while being read, again and again: shown without a stack"),
    ];
    for (n, what) in notes {
        if n > 0 {
            page.words(2, Tint::Warn, &format!("{} {what}", counted(n, noun(&dump.process))))?;
        }
    }
    Ok(())
}

fn write_group(page: &mut Page, dump: &DumpView, group: &Group, by: GroupBy) -> io::Result<()> {
    let first = group.first;
    let n = group.tasks.len() as u64;
    let doing = wait_reason(first).unwrap_or_else(|| first.state.word());
    let tint = if first.state == TaskState::Waiting { Tint::Warn } else { Tint::Good };
    let mut head = Line::new()
        .add(Tint::Strong, &counted(n, first.kind.word()))
        .add(Tint::Plain, ": ")
        .add(tint, doing);
    let (shortest, longest, known) = group.waits();
    if known > 0 {
        head.push(Tint::Plain, &format!(", {}", wait_range(shortest, longest)));
        if known < n {
            head.push(Tint::Faint, &format!(" (known of {})", count(known)));
        }
    }
    page.line(&head)?;
    write_objects(page, group)?;
    if let Some(idle) = group.idle() {
        page.field_words("idle", Tint::Good, &format!("waits by nature: {idle}"))?;
    }
    match (by, &first.wait_site) {
        (GroupBy::Site, Some(site)) => frame_field(page, "at", site)?,
        _ => {
            let frames = frames::shown_or_all(&first.frames);
            stack_field(page, "stack", &frames, usize::MAX)?;
            if frames.is_empty() {
                page.field_words("stack", Tint::Faint, "not read: it was moving")?;
            }
        }
    }
    // Who made the main goroutine is the runtime's business, and Go's own dump hides it too.
    let told = |site: &&Arc<Frame>| site.visibility == Visibility::Shown || first.system;
    if let Some(site) = first.created_by.as_ref().filter(told) {
        frame_field(page, "created by", site)?;
    } else if let Some(start) = first.start.as_ref().filter(|_| first.kind == TaskKind::Thread) {
        frame_field(page, "runs", start)?;
    }
    write_labels(page, group)?;
    write_threads(page, dump, group)?;
    let locked = group.tasks.iter().filter(|t| t.locked_to_thread).count();
    if locked > 0 {
        let words = if locked as u64 == n {
            "locked to it".to_owned()
        } else {
            format!("{locked} locked to one")
        };
        page.field_words("thread", Tint::Plain, &words)?;
    }
    let mut ids: Vec<String> = group.tasks.iter().take(IDS).map(|t| t.id.to_string()).collect();
    if group.tasks.len() > IDS {
        ids.push(format!("and {} more", count((group.tasks.len() - IDS) as u64)));
    }
    let label = if n == 1 { "id" } else { "ids" };
    page.field_words(label, Tint::Plain, &ids.join(" "))
}

fn write_objects(page: &mut Page, group: &Group) -> io::Result<()> {
    let objects = group.objects();
    for (i, (on, waiters)) in objects.iter().take(OBJECTS).enumerate() {
        let Some(mut text) = object(on) else { continue };
        if group.tasks.len() > 1 {
            text = format!("{text}: {}", counted(*waiters, "waiter"));
        }
        page.field_words(if i == 0 { "on" } else { "" }, Tint::Plain, &text)?;
    }
    if objects.len() > OBJECTS {
        page.field_words(
            "",
            Tint::Faint,
            &format!("and {} more", count((objects.len() - OBJECTS) as u64)),
        )?;
    }
    Ok(())
}

/// The waits of the threads that run the tasks of a group, where threads were read.
fn write_threads(page: &mut Page, dump: &DumpView, group: &Group) -> io::Result<()> {
    let threads = group.tasks.iter().filter_map(|task| {
        let tid = task.thread?;
        dump.tasks.iter().find(|t| t.kind == TaskKind::Thread && t.id == u64::from(tid))
    });
    for (i, thread) in threads.take(THREADS).enumerate() {
        let doing = wait_reason(thread).unwrap_or_else(|| thread.state.word());
        let on = object(&thread.waits_on).map(|on| format!(", on {on}")).unwrap_or_default();
        let at = thread.wait_site.as_ref().map(|f| format!(", at {}", f.function));
        let text = format!("{}: {doing}{on}{}", thread.id, at.unwrap_or_default());
        page.field_words(if i == 0 { "on thread" } else { "" }, Tint::Plain, &text)?;
    }
    Ok(())
}

/// Labels are shown where all tasks of the group have the same ones.
fn write_labels(page: &mut Page, group: &Group) -> io::Result<()> {
    let labels = &group.first.labels;
    if labels.is_empty() || group.tasks.iter().any(|t| t.labels != *labels) {
        return Ok(());
    }
    let words: Vec<String> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    page.field_words("labels", Tint::Plain, &words.join(" "))
}
