//! JUnit XML, as build servers read it: a suite for the program, a failed case for each finding and
//! test; a case that passes where nothing was left behind. May use: view, output::{clean, text}.

use std::fmt::Write as _;
use std::io::{self, Write};

use super::Change;
use super::clean::clean;
use super::headline::headline;
use super::text::{Color, TextOptions, write_finding};
use crate::view::FindingView;
use crate::view::check::Checked;

/// The case that stands for the whole program.
const WHOLE: &str = "leaks";

/// Writes a whole document.
///
/// # Errors
/// The writer's.
pub fn write_check(out: &mut dyn Write, checked: &Checked) -> io::Result<()> {
    let program = program(checked);
    let cases = cases(checked, program)?;
    let (tests, failures) = (cases.len().max(1), cases.len());
    let seconds = checked.summary.watched.as_secs_f64();
    writeln!(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>")?;
    writeln!(out, "<testsuites tests=\"{tests}\" failures=\"{failures}\" errors=\"0\">")?;
    writeln!(
        out,
        "  <testsuite name=\"{} (loiter check)\" tests=\"{tests}\" failures=\"{failures}\" errors=\"0\" skipped=\"0\" time=\"{seconds:.3}\">",
        escaped(program)
    )?;
    if cases.is_empty() {
        writeln!(out, "    <testcase classname=\"{}\" name=\"{WHOLE}\"/>", escaped(program))?;
    }
    cases.iter().try_for_each(|case| out.write_all(case.as_bytes()))?;
    writeln!(out, "  </testsuite>")?;
    writeln!(out, "</testsuites>")
}

/// Writes a whole document for a program that was not checked, and why.
///
/// # Errors
/// The writer's.
pub fn write_unchecked(out: &mut dyn Write, program: &str, why: &str) -> io::Result<()> {
    let program = escaped(program);
    writeln!(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>")?;
    writeln!(out, "<testsuites tests=\"1\" failures=\"0\" errors=\"0\">")?;
    writeln!(
        out,
        "  <testsuite name=\"{program} (loiter check)\" tests=\"1\" failures=\"0\" errors=\"0\" skipped=\"1\">"
    )?;
    writeln!(out, "    <testcase classname=\"{program}\" name=\"{WHOLE}\">")?;
    writeln!(out, "      <skipped message=\"{}\"/>", escaped(why))?;
    writeln!(out, "    </testcase>\n  </testsuite>\n</testsuites>")
}

/// The package under test, else the file.
fn program(checked: &Checked) -> &str {
    let process = &checked.summary.process;
    let file = process.exe.rsplit('/').next().unwrap_or(&process.exe);
    let package = process.build.path.as_deref().map(|path| path.trim_end_matches(".test"));
    package.filter(|path| !path.is_empty()).unwrap_or(file)
}

fn cases(checked: &Checked, program: &str) -> io::Result<Vec<String>> {
    let mut cases = Vec::new();
    for finding in &checked.findings {
        let text = whole_text(finding)?;
        let mut names: Vec<&str> = finding.tests.iter().map(String::as_str).collect();
        if names.is_empty() {
            names.push(WHOLE);
        }
        cases.extend(names.into_iter().map(|name| case(program, name, finding, &text)));
    }
    Ok(cases)
}

fn case(program: &str, name: &str, finding: &FindingView, text: &str) -> String {
    let mut out = String::new();
    let _infallible = write!(
        out,
        "    <testcase classname=\"{}\" name=\"{}\">\n      <failure type=\"{}\" message=\"{}\">{}</failure>\n    </testcase>\n",
        escaped(program),
        escaped(name),
        finding.kind.word(),
        escaped(&headline(finding)),
        escaped_text(text),
    );
    out
}

fn whole_text(finding: &FindingView) -> io::Result<String> {
    let options = TextOptions { width: None, color: Color::Plain, zone: jiff::tz::TimeZone::UTC };
    let mut text = Vec::new();
    write_finding(&mut text, &options, finding, Change::Opened)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// One line of text, harmless in an attribute.
fn escaped(text: &str) -> String {
    escaped_text(&clean(text))
}

/// Text of which the lines stay lines. XML 1.0 has no way at all to write most control characters.
fn escaped_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\n' => out.push('\n'),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_is_only_text() {
        assert_eq!(escaped("a<b>\"&'\n\u{0}"), "a&lt;b&gt;&quot;&amp;&apos;\\n\\u{0}");
        assert_eq!(escaped_text("one\ntwo\u{1b}"), "one\ntwo\u{fffd}");
    }
}
