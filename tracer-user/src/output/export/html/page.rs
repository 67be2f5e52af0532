//! The page itself. May use: view, base, output::text's words.

use std::fmt::Write as _;
use std::io::{self, Write};

use jiff::tz::TimeZone;

use crate::base::{Frame, FrameKind, Nanos};
use crate::output::group::{Group, group};
use crate::output::text::process::{build, housing, name, noun, version};
use crate::output::text::words::{count, moment, size, wait_range};
use crate::output::{GroupBy, frames, wait_reason};
use crate::view::timeline::FindingChange;
use crate::view::{DumpView, FindingView, SummaryView, TaskView};

use super::detail::Detail;
use super::escape::{Escaped, json_in_script, policy_hash};
use super::findings::{push as push_finding, push_stack};
use super::{data, flame};

const STYLE: &str = include_str!("page/report.css");
const SCRIPT: &str = include_str!("page/report.js");

/// Most groups of equal stacks listed.
const MAX_GROUPS: usize = 150;

/// What the page is made of.
pub struct Report<'a> {
    /// The name of the recording.
    pub recording: &'a str,
    /// What wrote the page.
    pub writer: &'a str,
    /// The end of the recording.
    pub summary: &'a SummaryView,
    /// Findings open at the end.
    pub open: &'a [FindingView],
    /// All tasks at the end; None without a look.
    pub dump: Option<&'a DumpView>,
    /// Where the recording breaks off: why, as far as known.
    pub broke_off: Option<&'a str>,
    /// In which times are told.
    pub zone: &'a TimeZone,
}

/// Writes the page.
///
/// # Errors
/// The writer's.
pub fn write_html(out: &mut dyn Write, report: &Report<'_>, mut detail: Detail) -> io::Result<()> {
    detail.close();
    let tasks: Vec<&TaskView> = report
        .dump
        .map(|dump| dump.tasks.iter().filter(|t| !t.system).collect())
        .unwrap_or_default();
    let noun = noun(&report.summary.process);
    let mut page = String::new();
    push_head(&mut page, report);
    push_summary(&mut page, report, &detail);
    push_findings(&mut page, report, &detail);
    page.push_str(&for_noun(CHARTS, noun));
    let groups = group(tasks.iter().copied(), GroupBy::Stack);
    push_groups(&mut page, report, &groups);
    let (tree, cut) = flame::tree(&tasks, &mut detail.strings);
    if cut > 0 {
        detail.left_out.push(format!("{cut} thin branches of the flame graph"));
    }
    if groups.len() > MAX_GROUPS {
        let more = groups.len() - MAX_GROUPS;
        detail.left_out.push(format!("{more} of {} groups of equal tasks", groups.len()));
    }
    push_foot(&mut page, report, &detail);
    out.write_all(page.as_bytes())?;
    let json = data::json(&mut detail, &tree, report.zone, noun).map_err(io::Error::other)?;
    write!(
        out,
        "<script type=\"application/json\" id=\"data\">{}</script>\n<script>{SCRIPT}</script>\n</body>\n</html>\n",
        json_in_script(&json)
    )
}

/// A frame with its place.
pub fn frame_html(frame: &Frame) -> String {
    let inlined = if frame.kind == FrameKind::Inlined { " (inlined)" } else { "" };
    let place = match (frame.file.is_empty(), frame.line) {
        (true, _) => String::new(),
        (false, 0) => frame.file.to_string(),
        (false, line) => format!("{}:{line}", frame.file),
    };
    format!(
        "<code>{}</code>{inlined} <span class=\"where\">{}</span>",
        Escaped(&frame.function),
        Escaped(&place)
    )
}

fn push_head(page: &mut String, report: &Report<'_>) {
    let process = &report.summary.process;
    let title = format!("{} (PID {})", name(&process.exe), process.pid);
    let _infallible = write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src '{}'; style-src '{}'; \
         base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n\
         <title>{} - loiter report</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <a class=\"skip\" href=\"#findings\">To the findings</a>\n{}\
         <main>\n<header>\n<h1>{}</h1>\n<p class=\"lead mono\">{}</p>\n",
        policy_hash(SCRIPT),
        policy_hash(STYLE),
        Escaped(&title),
        for_noun(BAR, noun(process)),
        Escaped(&title),
        Escaped(&process.exe),
    );
    let mut lead = version(process).to_owned();
    if let Some(build) = build(&process.build) {
        let _infallible = write!(lead, ", {build}");
    }
    if let Some(housing) = housing(process.container.as_deref(), process.pod.as_ref()) {
        let _infallible = write!(lead, ", {housing}");
    }
    let _infallible = write!(page, "<p class=\"lead\">{}</p>\n</header>\n", Escaped(&lead));
    if let Some(why) = report.broke_off {
        let why = if why.is_empty() { "it may have been killed" } else { why };
        note(page, &format!("The recorder did not end well: {why}. What came after is missing."));
    }
    for why in &process.degraded {
        note(page, &format!("Degraded: {why}"));
    }
}

/// What is written for goroutines, with another word for the tasks.
fn for_noun(text: &str, noun: &str) -> String {
    let mut capital = noun.to_owned();
    if let Some(first) = capital.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    text.replace(">Goroutine", &format!(">{capital}"))
        .replace("\"Goroutine", &format!("\"{capital}"))
        .replace("goroutines<", &format!("{noun}s<"))
        .replace("all goroutines ", &format!("all {noun}s "))
}

fn note(page: &mut String, text: &str) {
    let _infallible = writeln!(page, "<p class=\"note\">{}</p>", Escaped(text));
}

fn push_summary(page: &mut String, report: &Report<'_>, detail: &Detail) {
    let summary = report.summary;
    page.push_str("<section id=\"summary\" aria-label=\"Summary\"><dl class=\"tiles\">");
    let findings = summary.findings;
    let class = if findings.likely + findings.certain > 0 { "bad" } else { "" };
    let each =
        [(findings.certain, "certain"), (findings.likely, "likely"), (findings.suspect, "suspect")];
    let each: Vec<String> =
        each.iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}")).collect();
    push_tile(page, class, "Open findings", &count(findings.all()), &each.join(", "));
    let recorded = Nanos(detail.span);
    push_tile(
        page,
        "",
        "Shown",
        &recorded.to_string(),
        &format!("from {}", moment(detail.wall, report.zone)),
    );
    let peak = detail.samples.values().map(|s| s.shades.iter().sum::<u64>()).max().unwrap_or(0);
    let alive = count(summary.alive);
    push_tile(
        page,
        "",
        "Alive at the end",
        &alive,
        &format!("at most {}", count(peak.max(summary.alive))),
    );
    if let (Some(births), Some(deaths)) = (summary.births, summary.deaths) {
        push_tile(page, "", "Born", &count(births), &format!("{} ended", count(deaths)));
    }
    let rss = detail.samples.values().map(|s| s.rss).max().unwrap_or(0);
    if rss > 0 {
        push_tile(page, "", "Resident memory", &size(rss), "at most");
    }
    let lost: u64 = summary.lost.iter().map(|(_, n)| n).sum();
    let kinds: Vec<String> =
        summary.lost.iter().map(|(kind, n)| format!("{} {}", count(*n), kind.word())).collect();
    let class = if lost > 0 { "bad" } else { "" };
    push_tile(page, class, "Records lost", &count(lost), &kinds.join(", "));
    let looks = count(summary.looks.into());
    push_tile(
        page,
        "",
        "Looks at all of them",
        &looks,
        &format!("events: {}", summary.mode.word()),
    );
    let _infallible = write!(
        page,
        "</dl>\n<p class=\"lead\">The recording ends {}: {}.</p></section>\n",
        Escaped(&moment(summary.ended_at, report.zone)),
        Escaped(&summary.ended)
    );
}

fn push_tile(page: &mut String, class: &str, name: &str, value: &str, more: &str) {
    let more = match more {
        "" => String::new(),
        more => format!("<small>{}</small>", Escaped(more)),
    };
    let _infallible = write!(
        page,
        "<div class=\"{class}\"><dt>{name}</dt><dd>{}{more}</dd></div>",
        Escaped(value)
    );
}

fn push_findings(page: &mut String, report: &Report<'_>, detail: &Detail) {
    page.push_str("<section id=\"findings\"><h2>Findings</h2>\n<div id=\"findinglist\">");
    let site = |finding: &FindingView| {
        let named = detail.sites.iter().position(|s| s.named && s.frame == finding.spawn_site);
        named.filter(|_| finding.spawn_site.is_some())
    };
    let mut shown = 0;
    for finding in report.open {
        push_finding(page, finding, FindingChange::Opened, site(finding), report.zone);
        shown += 1;
    }
    for (change, finding) in detail.findings.values() {
        if *change == FindingChange::Resolved && report.open.iter().all(|f| f.id != finding.id) {
            push_finding(page, finding, *change, site(finding), report.zone);
            shown += 1;
        }
    }
    page.push_str("</div>");
    let none = if shown == 0 {
        "<p class=\"empty\">Nothing was found that is worth a word.</p>"
    } else {
        "<p class=\"empty\" data-none=\"findinglist\" hidden>No finding has these words.</p>"
    };
    page.push_str(none);
    page.push_str("</section>\n");
}

fn push_groups(page: &mut String, report: &Report<'_>, groups: &[Group<'_>]) {
    let head = "<section id=\"tasks\"><h2>Goroutines at the end</h2><div class=\"panel\" id=\"grouplist\">";
    page.push_str(&for_noun(head, noun(&report.summary.process)));
    for group in groups.iter().take(MAX_GROUPS) {
        push_group(page, group);
    }
    page.push_str("</div>");
    let none = match (report.dump, groups) {
        (None, _) => "<p class=\"empty\">No look at all tasks is in the recording.</p>",
        (_, []) => "<p class=\"empty\">There were none.</p>",
        _ => "<p class=\"empty\" data-none=\"grouplist\" hidden>No group has these words.</p>",
    };
    page.push_str(none);
    page.push_str("</section>\n");
}

fn push_group(page: &mut String, group: &Group<'_>) {
    let first = group.first;
    let doing = wait_reason(first).unwrap_or_else(|| first.state.word());
    let place = first.wait_site.as_ref().or(first.start.as_ref());
    let place = place.map_or_else(|| "place not known".to_owned(), |f| frame_short(f));
    let (shortest, longest, known) = group.waits();
    let waits = if known > 0 { wait_range(shortest, longest) } else { String::new() };
    let _infallible = write!(
        page,
        "<details class=\"group\" data-search><summary><span class=\"n\">{}</span><span>{}</span><span>{place}</span></summary><div>",
        count(group.tasks.len() as u64),
        Escaped(doing),
    );
    if !waits.is_empty() {
        let _infallible = write!(page, "<p class=\"empty\">Waiting {}</p>", Escaped(&waits));
    }
    if let Some(site) = &first.created_by {
        let _infallible = write!(page, "<p class=\"empty\">Born at {}</p>", frame_html(site));
    }
    push_stack(page, &frames::shown_or_all(&first.frames));
    let ids: Vec<String> = group.tasks.iter().take(20).map(|t| t.id.to_string()).collect();
    let more = if group.tasks.len() > 20 { " ..." } else { "" };
    let _infallible =
        writeln!(page, "<p class=\"empty\">Ids {}{more}</p></div></details>", ids.join(" "));
}

fn frame_short(frame: &Frame) -> String {
    format!(
        "<code>{}</code> <span class=\"where\">{}</span>",
        Escaped(&frame.function),
        Escaped(&frames::short_place(frame))
    )
}

fn push_foot(page: &mut String, report: &Report<'_>, detail: &Detail) {
    let _infallible = write!(
        page,
        "<footer><p>Written by {} from the recording <code>{}</code>. Times are {}. A gap between two stretches of a \
         task means that nothing is known of it then. Of each of {} parts of the time, the counts are those with the \
         most tasks.</p>",
        Escaped(report.writer),
        Escaped(report.recording),
        Escaped(&zone_name(detail, report.zone)),
        super::detail::BUCKETS,
    );
    if !detail.left_out.is_empty() {
        page.push_str("<p>Left out, so that the page stays small:</p><ul>");
        for what in &detail.left_out {
            let _infallible = write!(page, "<li>{}</li>", Escaped(what));
        }
        page.push_str("</ul>");
    }
    page.push_str("</footer>\n</main>\n<div id=\"tip\" role=\"tooltip\" hidden></div>\n");
}

fn zone_name(detail: &Detail, zone: &TimeZone) -> String {
    let at = jiff::Timestamp::from_nanosecond(i128::from(detail.wall.0)).unwrap_or_default();
    at.to_zoned(zone.clone()).strftime("%Z").to_string()
}

const BAR: &str = "<div class=\"bar\"><div>
<nav aria-label=\"Parts of the page\"><a href=\"#findings\">Findings</a><a href=\"#overtime\">Over time</a><a href=\"#timeline\">Timeline</a><a href=\"#flames\">Flame graph</a><a href=\"#tasks\">Goroutines</a></nav>
<span id=\"found\" role=\"status\" aria-live=\"polite\"></span>
<input id=\"search\" class=\"script\" hidden type=\"search\" placeholder=\"Search functions, files, ids ( / )\" aria-label=\"Search\" autocomplete=\"off\" spellcheck=\"false\">
<select id=\"theme\" class=\"script\" hidden aria-label=\"Colours\"><option value=\"auto\">as the system</option><option value=\"light\">light</option><option value=\"dark\">dark</option></select>
</div></div>
";

const CHARTS: &str = "<noscript><p class=\"note\">Charts and search need scripts; all else is here.</p></noscript>
<section id=\"overtime\" class=\"script\" hidden><h2>Goroutines over time</h2>
<div class=\"panel\"><div class=\"tools\"><span class=\"grow\" id=\"range\" role=\"status\"></span>
<button type=\"button\" id=\"in\" aria-label=\"Zoom in\">+</button><button type=\"button\" id=\"out\" aria-label=\"Zoom out\">&minus;</button><button type=\"button\" id=\"all\">all</button></div>
<canvas id=\"counts\" role=\"img\" tabindex=\"0\" aria-label=\"Goroutines by state over time\"></canvas>
<ul class=\"keys\"><li><i class=\"k-running\"></i>running</li><li><i class=\"k-runnable\"></i>runnable</li><li><i class=\"k-waiting\"></i>waiting</li><li><i class=\"k-syscall\"></i>in a system call</li><li><i class=\"k-other\"></i>not known</li><li>&#9660; a finding</li><li>- - resident memory</li></ul>
<p class=\"empty\">Drag to move. Ctrl and wheel, double click or + and - zoom; 0 shows all.</p></div></section>
<section id=\"timeline\" class=\"script\" hidden><h2>Timeline by spawn site</h2>
<div class=\"panel\"><div class=\"row axis\"><div></div><canvas id=\"axis\" role=\"img\" aria-label=\"Time\"></canvas></div><div id=\"rows\"></div><p class=\"empty\" data-none=\"rows\" hidden>No spawn site has these words.</p>
<div class=\"row\" id=\"phaserow\"><div class=\"label\">the runtime at work<small>garbage collection and the like</small></div><canvas id=\"phases\" role=\"img\" aria-label=\"When the runtime was at work for itself\"></canvas></div>
<p id=\"picked\" role=\"status\" aria-live=\"polite\"></p></div></section>
<section id=\"flames\" class=\"script\" hidden><h2>Flame graph of all goroutines at the end</h2>
<div class=\"panel\"><div class=\"tools\"><label class=\"grow\">Width is <select id=\"weight\"><option value=\"count\">goroutines</option><option value=\"wait\">time waited</option></select></label><button type=\"button\" id=\"unzoom\" hidden>show all</button></div>
<div id=\"flame\"></div></div></section>
";
