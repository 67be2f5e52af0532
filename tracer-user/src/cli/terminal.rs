//! What the terminal is like: its width, whether colours are wanted, the zone of its user.
//! May use: output.

use std::env;
use std::io::IsTerminal;

use jiff::tz::TimeZone;

use super::args::ColorWhen;
use crate::output::text::{Color, TextOptions};

/// Options for text on stdout.
pub fn stdout_options(when: ColorWhen) -> TextOptions {
    let stdout = std::io::stdout();
    let width = stdout.is_terminal().then(|| width_of(&stdout)).flatten();
    TextOptions { width, color: color(when, stdout.is_terminal(), env_word), zone: zone() }
}

/// Options for text on stderr.
pub fn stderr_options(when: ColorWhen) -> TextOptions {
    let stderr = std::io::stderr();
    let width = stderr.is_terminal().then(|| width_of(&stderr)).flatten();
    TextOptions { width, color: stderr_color(when), zone: zone() }
}

/// Options for text in a file: whole lines, and colours only where they are asked for.
pub fn file_options(when: ColorWhen) -> TextOptions {
    let color = if when == ColorWhen::Always { Color::Ansi } else { Color::Plain };
    TextOptions { width: None, color, zone: zone() }
}

/// Whether to write colours on stderr.
pub fn stderr_color(when: ColorWhen) -> Color {
    color(when, std::io::stderr().is_terminal(), env_word)
}

/// The zone in which times are said and understood.
pub fn zone() -> TimeZone {
    TimeZone::try_system().unwrap_or(TimeZone::UTC)
}

fn width_of(terminal: &impl std::os::fd::AsFd) -> Option<usize> {
    let told = rustix::termios::tcgetwinsize(terminal).ok().map(|size| usize::from(size.ws_col));
    let set = env_word("COLUMNS").and_then(|c| c.parse().ok());
    told.filter(|&w| w > 0).or(set)
}

fn env_word(name: &str) -> Option<String> {
    env::var_os(name).map(|v| v.to_string_lossy().into_owned()).filter(|v| !v.is_empty())
}

/// Whether to write colours: the option first, then <https://no-color.org> and
/// <https://bixense.com/clicolors>, then the terminal.
fn color(when: ColorWhen, terminal: bool, env: impl Fn(&str) -> Option<String>) -> Color {
    let is = |name, value: &str| env(name).is_some_and(|v| v == value);
    let wanted = match when {
        ColorWhen::Always => true,
        ColorWhen::Never => false,
        ColorWhen::Auto if env("NO_COLOR").is_some() => false,
        ColorWhen::Auto if env("CLICOLOR_FORCE").is_some_and(|v| v != "0") => true,
        ColorWhen::Auto => terminal && !is("CLICOLOR", "0") && !is("TERM", "dumb"),
    };
    if wanted { Color::Ansi } else { Color::Plain }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(when: ColorWhen, terminal: bool, vars: &[(&str, &str)]) -> Color {
        color(when, terminal, |name| {
            vars.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned())
        })
    }

    #[test]
    fn colours_are_for_terminals_unless_somebody_says_otherwise() {
        use ColorWhen::{Always, Auto, Never};
        assert_eq!(with(Auto, true, &[]), Color::Ansi);
        assert_eq!(with(Auto, false, &[]), Color::Plain);
        assert_eq!(with(Auto, true, &[("NO_COLOR", "1")]), Color::Plain);
        assert_eq!(with(Auto, true, &[("TERM", "dumb")]), Color::Plain);
        assert_eq!(with(Auto, true, &[("CLICOLOR", "0")]), Color::Plain);
        assert_eq!(with(Auto, false, &[("CLICOLOR_FORCE", "1")]), Color::Ansi);
        assert_eq!(with(Auto, false, &[("CLICOLOR_FORCE", "0")]), Color::Plain);
        assert_eq!(with(Auto, true, &[("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")]), Color::Plain);
        assert_eq!(with(Always, false, &[("NO_COLOR", "1")]), Color::Ansi);
        assert_eq!(with(Never, true, &[("CLICOLOR_FORCE", "1")]), Color::Plain);
    }
}
