//! A recording as a whole. May use: view.

use std::io::{self, Write};

use super::page::{Page, TextOptions, Tint};
use super::process::write_head;
use super::words::{count, counted, moment, size};
use crate::view::recording::{RecordingEnd, RecordingView};

/// Writes what a recording holds.
///
/// # Errors
/// The writer's.
pub fn write_recording(
    out: &mut dyn Write,
    options: &TextOptions,
    view: &RecordingView,
) -> io::Result<()> {
    let mut page = Page::new(out, options);
    if let Some(process) = &view.process {
        write_head(&mut page, process)?;
    }
    let zone = &options.zone;
    page.field_words("recording", Tint::Plain, &view.path)?;
    let span =
        format!("{} to {}, {}", moment(view.from, zone), moment(view.until, zone), view.lasted);
    page.field_words("from", Tint::Plain, &span)?;
    write_end(&mut page, view)?;
    let (major, minor) = view.version;
    page.field_words(
        "written by",
        Tint::Plain,
        &format!("{}, format {major}.{minor}", view.writer),
    )?;
    let held = format!(
        "{}, {} of them events; {} in {}, {} before packing",
        counted(view.inputs, "input"),
        count(view.events),
        size(view.bytes),
        counted(view.segments, "segment"),
        size(view.raw_bytes),
    );
    page.field_words("holds", Tint::Plain, &held)?;
    if view.redacted {
        page.field_words("left out", Tint::Plain, "labels and build settings, as asked for")?;
    }
    if view.removed_inputs > 0 {
        let removed =
            format!("{} of older segments, as asked for", counted(view.removed_inputs, "input"));
        page.field_words("removed", Tint::Plain, &removed)?;
    }
    if view.damaged_bytes > 0 {
        page.field_words("damaged", Tint::Warn, &counted(view.damaged_bytes, "byte"))?;
    }
    for (i, sort) in view.sorts.iter().enumerate() {
        let words = format!("{}: {}, {}", sort.sort, count(sort.inputs), size(sort.bytes));
        page.field_words(if i == 0 { "of these" } else { "" }, Tint::Plain, &words)?;
    }
    page.blank()
}

fn write_end(page: &mut Page, view: &RecordingView) -> io::Result<()> {
    match &view.end {
        RecordingEnd::Closed(why) => page.field_words("ended", Tint::Plain, why),
        RecordingEnd::Stopped(why) => {
            page.field_words("stopped", Tint::Warn, &format!("the recorder could not go on: {why}"))
        }
        RecordingEnd::BrokeOff { at_most } => page.field_words(
            "breaks off",
            Tint::Warn,
            &format!("of what the recorder took in, at most {at_most} are missing at the end"),
        ),
    }
}
