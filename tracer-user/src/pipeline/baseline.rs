//! The baseline file: findings that are known, each with an owner and a day on which somebody has
//! to look again. TOML, since people edit it and comment on it. New entries are appended to the
//! text that is there, so that nothing of it changes.
//! May use: view.

use std::fmt::Write as _;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Deserialize;
use toml::Spanned;

use crate::view::{Acknowledgement, Acknowledgements, FindingView, WallTime};

/// Largest file that is read: a hundred times what ten thousand findings need would be a mistake.
pub const MAX_BYTES: u64 = 4 << 20;
/// Most entries.
const MAX_ENTRIES: usize = 10_000;
/// Longest text of a field: it is printed.
const MAX_TEXT: usize = 1_000;

/// What is wrong with a line of a file.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct LineError {
    /// From 1.
    pub line: usize,
    /// The cause, with what would be right.
    pub why: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    finding: Vec<Spanned<Entry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: Spanned<String>,
    owner: Spanned<String>,
    until: Spanned<toml::Value>,
    #[serde(default)]
    note: String,
    /// For the reader of the file only.
    #[serde(default, rename = "what")]
    _what: String,
}

/// Reads the text of a baseline file.
///
/// # Errors
/// The first line that is wrong, and how it would be right.
pub fn parse(text: &str) -> Result<Acknowledgements, LineError> {
    let file: File = toml::from_str(text).map_err(|e| {
        let at = e.span().map_or(0, |span| span.start);
        wrong(text, at, e.message().to_owned())
    })?;
    if let Some(entry) = file.finding.get(MAX_ENTRIES) {
        let why = format!("more than {MAX_ENTRIES} findings are acknowledged");
        return Err(wrong(text, entry.span().start, why));
    }
    let mut all = Acknowledgements::default();
    for entry in file.finding {
        let id_at = entry.as_ref().id.span().start;
        let acknowledgement = entry.into_inner().checked(text)?;
        let id = acknowledgement.id.clone();
        if !all.add(acknowledgement) {
            return Err(wrong(text, id_at, format!("finding {id} is acknowledged twice")));
        }
    }
    Ok(all)
}

impl Entry {
    fn checked(self, text: &str) -> Result<Acknowledgement, LineError> {
        let refuse = |at: std::ops::Range<usize>, why: &str| wrong(text, at.start, why.to_owned());
        let id = self.id.as_ref();
        if id.len() != 16 || !id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            let why = "`id` is the id that loiter prints with a finding: 16 hex digits";
            return Err(refuse(self.id.span(), why));
        }
        if self.owner.as_ref().trim().is_empty() {
            return Err(refuse(self.owner.span(), "`owner` names who answers for the finding"));
        }
        if self.note.len().max(self.owner.as_ref().len()) > MAX_TEXT {
            let why = format!("`owner` and `note` are at most {MAX_TEXT} bytes long");
            return Err(refuse(self.id.span(), &why));
        }
        let date = date_of(self.until.as_ref()).ok_or_else(|| {
            refuse(
                self.until.span(),
                "`until` is a date, such as 2027-01-31: the last day in force",
            )
        })?;
        let ends =
            end_of(date).ok_or_else(|| refuse(self.until.span(), "`until` is too far off"))?;
        Ok(Acknowledgement {
            id: self.id.into_inner(),
            owner: self.owner.into_inner(),
            until: date.to_string(),
            ends,
            note: self.note,
        })
    }
}

/// A date, with or without quotes.
fn date_of(value: &toml::Value) -> Option<Date> {
    match value {
        toml::Value::String(text) => text.parse().ok(),
        toml::Value::Datetime(moment) if moment.time.is_none() => {
            let date = moment.date?;
            let (year, month, day) = (date.year, date.month, date.day);
            Date::new(i16::try_from(year).ok()?, i8::try_from(month).ok()?, i8::try_from(day).ok()?)
                .ok()
        }
        _ => None,
    }
}

/// The end of a day, UTC.
fn end_of(date: Date) -> Option<WallTime> {
    let next = date.tomorrow().ok()?.to_zoned(TimeZone::UTC).ok()?;
    Some(WallTime(i64::try_from(next.timestamp().as_nanosecond()).ok()?))
}

fn wrong(text: &str, at: usize, why: String) -> LineError {
    let before = text.as_bytes().get(..at).unwrap_or_default();
    LineError { line: before.iter().filter(|&&b| b == b'\n').count() + 1, why }
}

/// What is to be known of those who acknowledge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Promise {
    /// Who answers.
    pub owner: String,
    /// The last day in force.
    pub until: Date,
}

/// A finding to be acknowledged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// Its id.
    pub id: String,
    /// What it is, in a line for the reader of the file.
    pub what: String,
}

impl Found {
    /// From what was told.
    pub fn new(finding: &FindingView) -> Self {
        let at = finding.wait_site.as_ref().map_or_else(
            || "an unknown place".to_owned(),
            |site| format!("{} {}:{}", site.function, site.file, site.line),
        );
        let what = format!("{}, {} at {at}", finding.kind.word(), finding.wait_reason);
        Self { id: finding.id.clone(), what }
    }
}

/// The text `old` with an entry appended for each finding that it does not have yet, and how many
/// these are.
///
/// # Errors
/// If `old` is no baseline.
pub fn with_added(
    old: &str,
    found: &[Found],
    promise: &Promise,
) -> Result<(String, usize), LineError> {
    let known = parse(old)?;
    let mut text = old.to_owned();
    if text.is_empty() {
        text.push_str(
            "# Findings of loiter that are known: not told as news until their day has passed.\n",
        );
    }
    if !text.ends_with('\n') {
        text.push('\n');
    }
    let mut added = 0;
    for Found { id, what } in found.iter().filter(|f| known.of(&f.id).is_none()) {
        added += 1;
        let _infallible = write!(
            text,
            "\n[[finding]]\nid = {}\nowner = {}\nuntil = {}\nnote = \"\"\nwhat = {}\n",
            quoted(id),
            quoted(&promise.owner),
            promise.until,
            quoted(what),
        );
    }
    Ok((text, added))
}

/// A TOML string, whatever is in it.
fn quoted(text: &str) -> String {
    let short: String = text.chars().take(MAX_TEXT / 4).collect();
    toml::Value::String(short).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# known leaks\n\n[[finding]]\nid = \"7ef53cc8270f9f2e\" # orders\n\
        owner = \"payments\"\nuntil = 2027-01-31\nnote = \"JIRA-17\"\n\n[[finding]]\n\
        id = \"00ff00ff00ff00ff\"\nowner = \"platform\"\nuntil = \"2026-12-24\"\nwhat = \"stuck, select at x\"\n";

    #[test]
    fn an_entry_says_who_answers_and_until_when() {
        let all = parse(GOOD).unwrap();
        assert_eq!(all.len(), 2);
        let one = all.of("7ef53cc8270f9f2e").unwrap();
        assert_eq!((&*one.owner, &*one.until, &*one.note), ("payments", "2027-01-31", "JIRA-17"));
        assert_eq!(one.ends, WallTime(1_801_440_000_000_000_000), "the end of the day, UTC");
        assert!(all.in_force("7ef53cc8270f9f2e", WallTime(one.ends.0 - 1)).is_some());
        assert!(all.in_force("7ef53cc8270f9f2e", one.ends).is_none());
        assert!(parse("").unwrap().is_empty());
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_how_it_would_be_right() {
        let entry = |id: &str, owner: &str, until: &str| {
            format!("#\n[[finding]]\nid = {id}\nowner = {owner}\nuntil = {until}\n")
        };
        let (id, owner, until) = ("\"7ef53cc8270f9f2e\"", "\"me\"", "2027-01-31");
        for (text, line, word) in [
            (entry("\"7EF5\"", owner, until), 3, "16 hex digits"),
            (entry("7", owner, until), 3, "string"),
            (entry(id, "\" \"", until), 4, "answers"),
            (entry(id, owner, "\"soon\""), 5, "2027-01-31"),
            (entry(id, owner, "2027-01-31T10:00:00Z"), 5, "2027-01-31"),
            (entry(id, owner, "7"), 5, "2027-01-31"),
            (entry(id, owner, "2027-02-30"), 5, ""),
            (format!("{}untill = 1\n", entry(id, owner, until)), 6, "untill"),
            (format!("[[finding]]\nid = {id}\nuntil = {until}\n"), 1, "owner"),
            (format!("{0}{0}", entry(id, owner, until)), 8, "twice"),
            ("findings = []\n".to_owned(), 1, "findings"),
            ("\n\n[[finding\n".to_owned(), 3, ""),
        ] {
            let error = parse(&text).unwrap_err();
            assert_eq!(error.line, line, "{text}: {error}");
            assert!(error.why.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn every_beginning_and_many_corruptions_are_read_or_refused() {
        for end in 0..GOOD.len() {
            let _read_or_refused = parse(&GOOD[..end]);
        }
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..5_000 {
            let mut bytes = GOOD.as_bytes().to_vec();
            for _ in 0..3 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at = (seed >> 33) as usize % bytes.len();
                bytes[at] = (seed >> 20) as u8 & 0x7f;
            }
            let _read_or_refused = parse(std::str::from_utf8(&bytes).unwrap());
        }
    }

    fn promise() -> Promise {
        Promise { owner: "team \"a\"\n".into(), until: Date::new(2027, 3, 1).unwrap() }
    }

    fn found(id: &str) -> Found {
        Found { id: id.into(), what: "stuck, chan send at main.f".into() }
    }

    #[test]
    fn what_is_there_stays_to_the_byte_and_only_what_is_new_is_added() {
        let old = GOOD.trim_end();
        let found = [found("7ef53cc8270f9f2e"), found("0123456789abcdef")];
        let (text, added) = with_added(old, &found, &promise()).unwrap();
        assert_eq!(added, 1);
        assert!(text.starts_with(old));
        let all = parse(&text).unwrap();
        assert_eq!(all.len(), 3);
        assert_eq!(all.of("7ef53cc8270f9f2e").unwrap().owner, "payments");
        assert_eq!(all.of("0123456789abcdef").unwrap().owner, "team \"a\"\n");
        assert_eq!(all.of("0123456789abcdef").unwrap().until, "2027-03-01");
        let (again, added) = with_added(&text, &found, &promise()).unwrap();
        assert_eq!((again, added), (text, 0));
    }

    #[test]
    fn a_file_that_is_no_baseline_is_not_added_to() {
        assert!(with_added("key = 1\n", &[], &promise()).is_err());
    }
}
