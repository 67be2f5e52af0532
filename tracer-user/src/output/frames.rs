//! Which frames of a stack are told. May use: base.

use std::sync::Arc;

use crate::base::{Frame, Visibility};

/// The frames that the runtime's own dump shows.
pub fn shown(frames: &[Arc<Frame>]) -> Vec<&Frame> {
    frames.iter().map(|f| &**f).filter(|f| f.visibility == Visibility::Shown).collect()
}

/// The frames that the runtime's own dump shows; where it shows none (a task of the runtime), all.
pub fn shown_or_all(frames: &[Arc<Frame>]) -> Vec<&Frame> {
    let shown = shown(frames);
    if shown.is_empty() { frames.iter().map(|f| &**f).collect() } else { shown }
}

/// `main.go:12`; empty if it is not known.
pub fn short_place(frame: &Frame) -> String {
    let file = frame.file.rsplit('/').next().unwrap_or_default();
    match (file, frame.line) {
        ("", _) => String::new(),
        (file, 0) => file.to_owned(),
        (file, line) => format!("{file}:{line}"),
    }
}

/// `main.work main.go:12`
pub fn named_place(frame: &Frame) -> String {
    format!("{} {}", frame.function, short_place(frame)).trim_end().to_owned()
}
