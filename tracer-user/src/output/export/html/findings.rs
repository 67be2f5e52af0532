//! Findings with their evidence, as text in the page. May use: view, output::text's words.

use std::fmt::Write as _;

use jiff::tz::TimeZone;

use crate::base::Frame;
use crate::output::frames;
use crate::output::text::finding::{fate, growth, is_doing};
use crate::output::text::process::noun;
use crate::output::text::words::{count, counted, moment, object, size, wait_range};
use crate::view::timeline::FindingChange;
use crate::view::{FindingKind, FindingView};

use super::escape::Escaped;
use super::page::frame_html;

/// Most frames of a stack that are written down.
pub const MAX_FRAMES: usize = 48;
/// Most ids and objects named.
const MAX_IDS: usize = 20;
const MAX_OBJECTS: usize = 5;

/// Appends one.
pub fn push(
    out: &mut String,
    finding: &FindingView,
    change: FindingChange,
    site: Option<usize>,
    zone: &TimeZone,
) {
    let over = change == FindingChange::Resolved;
    let confidence = finding.confidence.word();
    let class = if over { "over" } else { confidence };
    let badge = if over { "over".to_owned() } else { confidence.to_owned() };
    let kind = finding.kind.word();
    let tasks = counted(finding.count, noun(&finding.process));
    let doing = if over { "no longer here".to_owned() } else { is_doing(finding) };
    let _infallible = write!(
        out,
        "<article class=\"finding {class}\" data-search id=\"finding-{id}\"><header><span class=\"badge\">{}, {}</span>\
         <h3>{} {}</h3>",
        Escaped(kind),
        Escaped(&badge),
        Escaped(&tasks),
        Escaped(&doing),
        id = Escaped(&finding.id),
    );
    if let Some(site) = site {
        let _infallible = write!(
            out,
            "<button type=\"button\" class=\"script\" hidden data-site=\"{site}\">show on the timeline</button>"
        );
    }
    out.push_str("</header><dl class=\"facts\">");
    facts(out, finding, zone);
    out.push_str("</dl>");
    let stack = frames::shown_or_all(&finding.stack);
    if !stack.is_empty() {
        out.push_str("<details open><summary>One stack of them</summary>");
        push_stack(out, &stack);
        out.push_str("</details>");
    }
    out.push_str("</article>\n");
}

/// Appends a stack, innermost frame first.
pub fn push_stack(out: &mut String, stack: &[&Frame]) {
    out.push_str("<ol class=\"stack\">");
    for frame in stack.iter().take(MAX_FRAMES) {
        let _infallible = write!(out, "<li>{}</li>", frame_html(frame));
    }
    if stack.len() > MAX_FRAMES {
        let _infallible = write!(out, "<li>and {} more</li>", stack.len() - MAX_FRAMES);
    }
    out.push_str("</ol>");
}

fn facts(out: &mut String, finding: &FindingView, zone: &TimeZone) {
    let mut fact = |name: &str, value: &str| {
        let _infallible = write!(out, "<dt>{name}</dt><dd>{value}</dd>");
    };
    let text = |text: &str| Escaped(text).to_string();
    let reason = if finding.wait_reason.is_empty() { "" } else { &*finding.wait_reason };
    let range = wait_range(finding.youngest_wait, finding.oldest_wait);
    let waits = if reason.is_empty() { range } else { format!("{reason}, {range}") };
    let name = match finding.kind {
        FindingKind::Hog => "Running",
        FindingKind::Starved => "Ready",
        _ => "Waiting",
    };
    fact(name, &text(&waits));
    let not_known = || "not known".to_owned();
    fact("Wait at", &finding.wait_site.as_deref().map_or_else(not_known, frame_html));
    fact("Born at", &finding.spawn_site.as_deref().map_or_else(not_known, frame_html));
    fact(
        "Seen",
        &text(&format!(
            "first {}, last told {}",
            moment(finding.first_seen, zone),
            moment(finding.as_of, zone)
        )),
    );
    if let Some(advice) = &finding.advice {
        fact("Usually", &text(&advice.text));
    }
    let reasons: Vec<String> =
        finding.reasons.iter().map(|r| format!("<li>{}</li>", Escaped(r))).collect();
    fact("Because", &format!("<ul>{}</ul>", reasons.concat()));
    let known: Vec<String> = finding
        .objects
        .iter()
        .filter_map(|(on, n)| Some(format!("{}: {}", object(on)?, counted(*n, "waiter"))))
        .take(MAX_OBJECTS)
        .collect();
    if !known.is_empty() {
        fact("Waiting on", &text(&known.join("; ")));
    }
    if let Some(site) = &finding.site {
        fact("Its site", &text(&fate(site)));
    }
    if let Some(climb) = &finding.climb {
        fact("Growth", &text(&growth(climb, noun(&finding.process))));
    }
    if finding.stack_bytes > 0 {
        fact("Holds", &text(&format!("{} of stacks", size(finding.stack_bytes))));
    }
    if let Some(waker) = &finding.last_waker {
        let fate = if waker.alive { "it still lives" } else { "it has ended since" };
        fact("Last woken", &text(&format!("by {}; {fate}", waker.id)));
    }
    if !finding.labels.is_empty() {
        let labels = finding.labels.iter().map(|l| format!("{}={} ({})", l.key, l.value, l.tasks));
        fact("Labels", &text(&labels.collect::<Vec<_>>().join(", ")));
    }
    let mut ids: Vec<String> = finding.tasks.iter().take(MAX_IDS).map(u64::to_string).collect();
    let rest = finding.count.saturating_sub(ids.len() as u64);
    if rest > 0 {
        ids.push(format!("and {} more", count(rest)));
    }
    fact("Ids", &text(&ids.join(" ")));
    fact("Finding", &format!("<code>{}</code>", Escaped(&finding.id)));
}
