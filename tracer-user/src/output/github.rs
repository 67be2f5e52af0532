//! Workflow commands of GitHub Actions: each finding becomes an annotation at the line that
//! created the tasks. May use: view, output::headline.

use std::io::{self, Write};

use super::headline::headline;
use crate::view::FindingView;
use crate::view::check::Checked;

/// Writes `::error file=…,line=…,title=…::…`, one line a finding.
///
/// # Errors
/// The writer's.
pub fn write_check(out: &mut dyn Write, checked: &Checked) -> io::Result<()> {
    checked.findings.iter().try_for_each(|finding| write_command(out, finding))
}

fn write_command(out: &mut dyn Write, finding: &FindingView) -> io::Result<()> {
    // The creator's line can be mended; where it waits may be in a library.
    let site = finding.spawn_site.as_ref().or(finding.wait_site.as_ref());
    let mut place = String::new();
    if let Some(site) = site.filter(|site| !site.file.is_empty()) {
        place = format!("file={},line={},", property(&site.file), site.line.max(1));
    }
    let noun = finding.task_kind.word();
    let title = format!("{noun} leak ({})", finding.confidence.word());
    let message =
        format!("{}\n{}\nfinding {}", headline(finding), finding.reasons.join("\n"), finding.id);
    writeln!(out, "::error {place}title={}::{}", property(&title), data(&message))
}

/// A message: what would end the command is written as the runner wants it
/// (actions/toolkit, packages/core/src/command.ts, `escapeData`).
fn data(text: &str) -> String {
    let escaped = text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    super::clean::clean(&escaped).into_owned()
}

/// The value of a property (`escapeProperty`).
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_cannot_end_the_command_or_begin_another() {
        assert_eq!(data("100%\n::error::x\r"), "100%25%0A::error::x%0D");
        assert_eq!(property("a:b,c\n\x1b[2J"), "a%3Ab%2Cc%0A\\u{1b}[2J");
    }
}
