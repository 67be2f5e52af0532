//! A finding as an entry of the journal, in its own form: a line a field. May use: output's own parts.

use super::Change;
use super::json::write_finding;
use super::told::{Urgency, facts, process, sentence, urgency};
use crate::view::FindingView;

/// The entry.
pub fn entry(finding: &FindingView, change: Change) -> Vec<u8> {
    let priority = match urgency(finding, change) {
        Urgency::Error => "3",
        Urgency::Warning => "4",
        Urgency::Notice => "5",
        Urgency::Info => "6",
    };
    let mut out = Vec::new();
    field(&mut out, "MESSAGE", sentence(finding, change).as_bytes());
    field(&mut out, "PRIORITY", priority.as_bytes());
    field(&mut out, "SYSLOG_IDENTIFIER", b"loiter");
    for (name, value) in facts(finding, change).iter().chain(&process(&finding.process)) {
        if !value.is_empty() {
            field(&mut out, &format!("LOITER_{}", name.to_ascii_uppercase()), value.as_bytes());
        }
    }
    let mut json = Vec::new();
    // Writing to memory does not fail.
    if write_finding(&mut json, finding, change).is_ok() {
        field(&mut out, "LOITER_JSON", json.trim_ascii_end());
    }
    out
}

/// A value with a line feed would end its field: such a one goes with its length before it.
fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        out.push(b'\n');
        out.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend_from_slice(value);
    out.push(b'\n');
}
