//! `loiter.recording/1`: a recording as a whole. May use: view.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::parts::{Moment, Process};
use super::safe::write_line;
use crate::view::recording::{RecordingEnd, RecordingView};

#[derive(serde::Serialize)]
struct Recording<'a> {
    schema: &'static str,
    path: &'a str,
    format: [u16; 2],
    writer: &'a str,
    redacted: bool,
    settings: BTreeMap<&'a str, &'a str>,
    process: Option<Process<'a>>,
    from: Moment,
    until: Moment,
    lasted_ns: u64,
    end: End<'a>,
    segments: u64,
    bytes: u64,
    raw_bytes: u64,
    inputs: u64,
    events: u64,
    removed_inputs: u64,
    damaged_bytes: u64,
    sorts: BTreeMap<&'static str, Sort>,
}

#[derive(serde::Serialize)]
struct End<'a> {
    how: &'static str,
    why: Option<&'a str>,
    missing_at_most_ns: Option<u64>,
}

#[derive(serde::Serialize)]
struct Sort {
    inputs: u64,
    raw_bytes: u64,
}

/// Writes what a recording holds.
///
/// # Errors
/// The writer's.
pub fn write_recording(out: &mut dyn Write, view: &RecordingView) -> io::Result<()> {
    let end = match &view.end {
        RecordingEnd::Closed(why) => {
            End { how: "closed", why: Some(why), missing_at_most_ns: None }
        }
        RecordingEnd::Stopped(why) => {
            End { how: "stopped", why: Some(why), missing_at_most_ns: None }
        }
        RecordingEnd::BrokeOff { at_most } => {
            End { how: "broke_off", why: None, missing_at_most_ns: Some(at_most.0) }
        }
    };
    let sorts = view.sorts.iter();
    let sorts = sorts.map(|s| (s.sort, Sort { inputs: s.inputs, raw_bytes: s.bytes })).collect();
    let recording = Recording {
        schema: "loiter.recording/1",
        path: &view.path,
        format: [view.version.0, view.version.1],
        writer: &view.writer,
        redacted: view.redacted,
        settings: view.settings.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect(),
        process: view.process.as_ref().map(Process::new),
        from: Moment(view.from),
        until: Moment(view.until),
        lasted_ns: view.lasted.0,
        end,
        segments: view.segments,
        bytes: view.bytes,
        raw_bytes: view.raw_bytes,
        inputs: view.inputs,
        events: view.events,
        removed_inputs: view.removed_inputs,
        damaged_bytes: view.damaged_bytes,
        sorts,
    };
    write_line(out, &recording)
}
