//! What `watch` and `diagnose` have in common: findings go to the answer in the form asked for,
//! notices to stderr, and the summary ends it.

use std::io::{self, Write};

use super::Context;
use super::args::StreamFormat;
use super::destination::Destination;
use crate::output::{json, text};
use crate::view::SummaryView;
use crate::view::watch::WatchSink;

/// Runs `work` with a sink of this format, then writes its summary and gives it back.
///
/// # Errors
/// Those of `work`, and those of writing.
pub fn tell(
    format: StreamFormat,
    context: &Context,
    to: Destination,
    work: impl FnOnce(&mut dyn WatchSink) -> anyhow::Result<SummaryView>,
) -> anyhow::Result<SummaryView> {
    let options = context.text_for(&to);
    let notices: Box<dyn Write> =
        if context.quiet { Box::new(io::sink()) } else { Box::new(io::stderr()) };
    let (summary, mut to) = match format {
        StreamFormat::Text => {
            let mut sink = text::TextSink::new(to, notices, options.clone());
            (work(&mut sink)?, sink.into_out())
        }
        StreamFormat::Jsonl => {
            let mut sink = json::JsonSink::new(to, notices, options.clone());
            (work(&mut sink)?, sink.into_out())
        }
    };
    match format {
        StreamFormat::Text => text::write_summary(&mut to, &options, &summary)?,
        StreamFormat::Jsonl => json::write_summary(&mut to, &summary)?,
    }
    to.finish()?;
    Ok(summary)
}

/// Runs `work`, which sums up each process itself, with a sink of this format.
///
/// # Errors
/// Those of `work`, and those of writing.
pub fn tell_many<T>(
    format: StreamFormat,
    context: &Context,
    to: Destination,
    work: impl FnOnce(&mut dyn WatchSink) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let options = context.text_for(&to);
    let notices: Box<dyn Write> =
        if context.quiet { Box::new(io::sink()) } else { Box::new(io::stderr()) };
    let (done, to) = match format {
        StreamFormat::Text => {
            let mut sink = text::TextSink::new(to, notices, options).of_many();
            (work(&mut sink)?, sink.into_out())
        }
        StreamFormat::Jsonl => {
            let mut sink = json::JsonSink::new(to, notices, options);
            (work(&mut sink)?, sink.into_out())
        }
    };
    to.finish()?;
    Ok(done)
}
