//! A watch told as text: findings to one writer, notices about the tracing itself to another.
//! May use: view.

use std::io::{self, Write};

use super::finding::write_finding;
use super::page::TextOptions;
use super::process::name;
use super::summary::{loss, write_summary_line};
use super::words::{counted, size, time_of_day};
use crate::output::Change;
use crate::output::clean::clean;
use crate::view::watch::{Notice, WatchSink, Who};
use crate::view::{FindingView, SummaryView};

/// Tells a watch as text.
pub struct TextSink<Out, Err> {
    out: Out,
    err: Err,
    options: TextOptions,
    /// Whether findings begin with the name of their process.
    named: bool,
}

impl<Out: Write, Err: Write> TextSink<Out, Err> {
    /// Findings go to `out`, notices to `err`.
    pub fn new(out: Out, err: Err, options: TextOptions) -> Self {
        Self { out, err, options, named: false }
    }

    /// The same for many processes: each finding begins with the name of its own.
    #[must_use]
    pub fn of_many(mut self) -> Self {
        self.named = true;
        self
    }

    /// Gives the writer of the findings back.
    pub fn into_out(self) -> Out {
        self.out
    }

    fn tell(&mut self, finding: &FindingView, change: Change) -> io::Result<()> {
        if self.named {
            let who = called(&finding.process.exe, finding.process.pid);
            write!(self.out, "{}: ", clean(&who))?;
        }
        write_finding(&mut self.out, &self.options, finding, change)?;
        self.out.flush()
    }
}

impl<Out: Write, Err: Write> WatchSink for TextSink<Out, Err> {
    fn opened(&mut self, finding: &FindingView) -> io::Result<()> {
        self.tell(finding, Change::Opened)
    }

    fn updated(&mut self, finding: &FindingView) -> io::Result<()> {
        self.tell(finding, Change::Updated)
    }

    fn resolved(&mut self, finding: &FindingView) -> io::Result<()> {
        self.tell(finding, Change::Resolved)
    }

    fn notice(&mut self, notice: &Notice) {
        write_notice(&mut self.err, &self.options, notice);
    }

    fn notice_of(&mut self, who: &Who, notice: &Notice) {
        write_notice_of(&mut self.err, &self.options, who, notice);
    }

    fn ended(&mut self, summary: &SummaryView) -> io::Result<()> {
        write_summary_line(&mut self.out, &self.options, summary)?;
        self.out.flush()
    }
}

/// `orders[4242]`.
fn called(exe: &str, pid: u32) -> String {
    format!("{}[{pid}]", name(exe))
}

/// As [`write_notice`], of one process of many.
pub fn write_notice_of(err: &mut dyn Write, options: &TextOptions, who: &Who, notice: &Notice) {
    let words = format!("{}: {}", called(&who.exe, who.pid), notice_words(notice, options));
    let _ignored = writeln!(err, "loiter: {}", clean(&words));
}

/// Writes a notice on one line. Nobody may be listening: then it is lost, and the watch goes on.
pub fn write_notice(err: &mut dyn Write, options: &TextOptions, notice: &Notice) {
    let _ignored = writeln!(err, "loiter: {}", clean(&notice_words(notice, options)));
}

fn notice_words(notice: &Notice, options: &TextOptions) -> String {
    let at = |t| time_of_day(t, &options.zone);
    match notice {
        Notice::Attached { pid, runtime_version, mode, probes, tasks, took, .. } => format!(
            "watching pid {pid} ({runtime_version}), events {}: {}, {}, attached in {took}",
            mode.word(),
            counted(*tasks, "task"),
            counted(u64::from(*probes), "probe"),
        ),
        Notice::Looked { number, of, tasks, took } => {
            format!("look {number} of {of}: {} in {took}", counted(*tasks, "task"))
        }
        Notice::ModeChanged { at: t, mode, why } => {
            format!("{}: events {} from now on: {why}", at(*t), mode.word())
        }
        Notice::Sampled { at: t, moment, every, why } => {
            format!("{}: all events for {moment} of every {every} from now on: {why}", at(*t))
        }
        Notice::Lost { at: t, kind, count } => {
            format!("{}: {} lost: {}", at(*t), counted(*count, "record"), loss(*kind))
        }
        Notice::Healed { at: t } => format!("{}: a snapshot has made good for the loss", at(*t)),
        Notice::Degraded { reason } => format!("degraded: {reason}"),
        Notice::Freezing { at: t, why, path } => format!("{}: keeping {path}: {why}", at(*t)),
        Notice::Frozen { at: t, path, bytes, held_back } => {
            let mut words = format!("{}: kept {path}, {}", at(*t), size(*bytes));
            if *held_back > 0 {
                words.push_str(&format!(
                    "; {} came too soon after another one to be kept",
                    counted(*held_back, "trigger")
                ));
            }
            words
        }
        Notice::Delivered { delivery } => super::summary::delivered(delivery),
        Notice::Metrics { scheme, address, readers } => {
            format!("metrics at {scheme}://{address}/metrics, for {readers}")
        }
        Notice::LeftBehind { path } => {
            format!("an earlier flight recorder broke off; what it had is kept as {path}")
        }
        Notice::Missing { inputs: 0, bytes, .. } => {
            format!("the recording is damaged: {} that nothing hangs on", counted(*bytes, "byte"))
        }
        Notice::Missing { since, until, inputs, bytes } => format!(
            "{} to {}: {} missing in the recording ({} damaged)",
            at(*since),
            at(*until),
            counted(*inputs, "input"),
            counted(*bytes, "byte"),
        ),
        Notice::BrokeOff { at: t, at_most, why: None } => format!(
            "{}: the recording breaks off here; of what the recorder took in, at most {at_most} are missing",
            at(*t)
        ),
        Notice::BrokeOff { at: t, why: Some(why), .. } => {
            format!("{}: the recorder had to stop here: {why}", at(*t))
        }
    }
}
