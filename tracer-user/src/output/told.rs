//! A finding for those who keep logs: one sentence, how urgent it is, and its facts by name; harmless and of a bounded
//! length, whatever the target calls its functions. May use: view, base, output's own parts.

use super::Change;
use super::metrics::{label, place, pod};
use crate::base::Frame;
use crate::view::{Confidence, FindingView, ProcessView};

/// How urgent it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Urgency {
    /// It is certain.
    Error,
    /// It is likely.
    Warning,
    /// It is a suspicion.
    Notice,
    /// It is over.
    Info,
}

/// How urgent it is.
pub fn urgency(finding: &FindingView, change: Change) -> Urgency {
    match (change, finding.confidence) {
        (Change::Resolved, _) => Urgency::Info,
        (_, Confidence::Certain) => Urgency::Error,
        (_, Confidence::Likely) => Urgency::Warning,
        (_, Confidence::Suspect) => Urgency::Notice,
    }
}

/// `leak (likely) in orders, pid 7: 12 goroutines created at main.run main.go:12, chan receive at main.work main.go:20`
pub fn sentence(finding: &FindingView, change: Change) -> String {
    let over = if change == Change::Resolved { "over: " } else { "" };
    let noun = finding.task_kind.word();
    let plural = if finding.count == 1 { "" } else { "s" };
    let doing = if finding.wait_reason.is_empty() { "at work" } else { &*finding.wait_reason };
    format!(
        "{over}{} ({}) in {}, pid {}: {} {noun}{plural} created at {}, {} at {}",
        finding.kind.word(),
        finding.confidence.word(),
        name(&finding.process),
        finding.process.pid,
        finding.count,
        site(finding.spawn_site.as_deref()),
        label(doing),
        site(finding.wait_site.as_deref()),
    )
}

/// What it is, by name; what is not known is left out.
pub fn facts(finding: &FindingView, change: Change) -> Vec<(&'static str, String)> {
    let frame = |frame: &Option<std::sync::Arc<Frame>>| frame.as_deref().map(|f| label(&place(f)));
    let all = [
        ("finding", Some(label(&finding.id))),
        ("change", Some(change.word().to_owned())),
        ("kind", Some(finding.kind.word().to_owned())),
        ("confidence", Some(finding.confidence.word().to_owned())),
        ("count", Some(finding.count.to_string())),
        ("spawn_site", frame(&finding.spawn_site)),
        ("wait_site", frame(&finding.wait_site)),
        ("wait_reason", Some(label(&finding.wait_reason))),
    ];
    let known = all.into_iter().filter_map(|(name, value)| Some((name, value?)));
    known.filter(|(_, value)| !value.is_empty()).collect()
}

/// What is known of the process, under the names of the labels of metrics.
pub fn process(process: &ProcessView) -> Vec<(&'static str, String)> {
    let mut all = vec![
        ("pid", process.pid.to_string()),
        ("process", name(process)),
        ("container", label(process.container.as_deref().unwrap_or(""))),
        ("exe", label(&process.exe)),
        ("runtime", label(&process.runtime)),
        ("runtime_version", label(&process.runtime_version)),
        ("version", label(process.build.version.as_deref().unwrap_or(""))),
    ];
    all.extend(pod(process));
    all
}

fn name(process: &ProcessView) -> String {
    label(process.exe.rsplit('/').next().unwrap_or(&process.exe))
}

fn site(frame: Option<&Frame>) -> String {
    frame.map_or_else(|| "a place not known".to_owned(), |frame| label(&place(frame)))
}
