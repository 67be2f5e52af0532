//! A bar on stderr for work that takes long; none where nobody would see it.
//! May use: indicatif.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::Context;

/// What is done before this needs no bar.
const QUIET_FOR: Duration = Duration::from_millis(500);
/// Between two drawings, at least this.
const DRAW_EVERY: Duration = Duration::from_millis(100);

/// A bar over bytes read.
pub struct Bar {
    bar: Option<ProgressBar>,
    shown: bool,
    begun: Instant,
    drawn: Instant,
}

impl Bar {
    /// None is shown with `--quiet`, or where stderr is no terminal.
    pub fn new(context: &Context) -> Self {
        let seen = !context.quiet && std::io::stderr().is_terminal();
        let now = Instant::now();
        Self { bar: seen.then(ProgressBar::hidden), shown: false, begun: now, drawn: now }
    }

    /// So much is done, of so much.
    pub fn at(&mut self, done: u64, of: u64) {
        let Some(bar) = &self.bar else { return };
        let now = Instant::now();
        if now - self.begun < QUIET_FOR || now - self.drawn < DRAW_EVERY {
            return;
        }
        self.drawn = now;
        if !std::mem::replace(&mut self.shown, true) {
            bar.set_draw_target(indicatif::ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template(
                "{msg} {wide_bar} {bytes} of {total_bytes}, {eta} left",
            );
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_message("reading");
        }
        bar.set_length(of);
        bar.set_position(done);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
