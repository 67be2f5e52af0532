//! Frames as people read them: function, then place, in two columns where they fit.
//! May use: base.

use std::io;

use super::page::{Line, Page, Tint, columns, cut_middle, cut_path};
use super::words::place;
use crate::base::{Frame, FrameKind};

/// A place shorter than this beside its function says too little: it gets a line of its own.
const MIN_PLACE: usize = 24;

/// A frame as lines of at most `room` columns.
pub fn frame_lines(frame: &Frame, room: Option<usize>) -> Vec<Line> {
    let inlined = if frame.kind == FrameKind::Inlined { " (inlined)" } else { "" };
    let function = format!("{}{inlined}", frame.function);
    let place = place(frame);
    let name = |text: &str| Line::new().add(Tint::Name, text);
    let Some(room) = room else {
        let line = name(&function);
        return vec![if place.is_empty() {
            line
        } else {
            line.add(Tint::Faint, &format!("  {place}"))
        }];
    };
    let left = room.saturating_sub(columns(&function) + 2);
    if place.is_empty() {
        return vec![name(&cut_middle(&function, room))];
    }
    if columns(&place) <= left || left >= MIN_PLACE {
        return vec![name(&function).add(Tint::Faint, &format!("  {}", cut_path(&place, left)))];
    }
    let below =
        Line::new().add(Tint::Faint, &format!("  {}", cut_path(&place, room.saturating_sub(2))));
    vec![name(&cut_middle(&function, room)), below]
}

/// Writes a frame beside a label.
///
/// # Errors
/// The writer's.
pub fn frame_field(page: &mut Page, label: &str, frame: &Frame) -> io::Result<()> {
    let room = page.room(super::page::LABEL);
    for (i, line) in frame_lines(frame, room).into_iter().enumerate() {
        page.field(if i == 0 { label } else { "" }, line)?;
    }
    Ok(())
}

/// Writes a stack beside a label, innermost frame first, `limit` frames at most.
///
/// # Errors
/// The writer's.
pub fn stack_field(
    page: &mut Page,
    label: &str,
    frames: &[&Frame],
    limit: usize,
) -> io::Result<()> {
    for (i, frame) in frames.iter().take(limit).enumerate() {
        frame_field(page, if i == 0 { label } else { "" }, frame)?;
    }
    if frames.len() > limit {
        let more = format!("… {} more frames", frames.len() - limit);
        page.field("", Line::new().add(Tint::Faint, &more))?;
    }
    Ok(())
}
