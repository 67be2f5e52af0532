//! Numbers of all processes, for those who gather them: as OpenMetrics text, and as families from which other
//! forms are made. How many series there are is bounded: processes, states, wait reasons, kinds of
//! findings, classes of lengths, and the largest spawn sites. May use: view, base, stream's plain words.

pub mod family;
mod gather;
mod text;

use std::fmt;

use crate::view::delivery::DeliveryView;
use crate::view::metrics::MetricsView;

pub use gather::{MAX_PROCESSES, gather};
pub(in crate::output) use gather::{label, place, pod};

/// What the answer to a scrape is, for its `Content-Type`.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Writes all processes, and what became of what was sent elsewhere.
///
/// # Errors
/// If it cannot be formatted; the text then is of no use.
pub fn render(views: &[MetricsView], deliveries: &[DeliveryView]) -> Result<String, fmt::Error> {
    text::write(gather(views, deliveries))
}
