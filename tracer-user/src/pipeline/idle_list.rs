//! What a user knows to wait by nature: `FUNCTION` or `FUNCTION = NAME`, as an argument or as a
//! line of a file. Lines, not TOML: they are written by hand, one thought each, and pasted from a
//! dump. May use: base.

use std::borrow::Cow;

use crate::base::{FunctionAt, IdlePattern, Numbers, Peers, Place};

use super::baseline::LineError;

/// Most lines that count.
const MAX_ENTRIES: usize = 10_000;
/// Longest line.
const MAX_LINE: usize = 4_096;

/// One entry; `whence` is told as the reason.
///
/// # Errors
/// In words, how it would be right.
pub fn entry(text: &str, whence: &str) -> Result<IdlePattern, String> {
    const WANTED: &str = "an entry is FUNCTION or FUNCTION=NAME, with the function as `loiter dump` \
         prints it, such as `main.(*pool).worker`; a `*` at the end stands for any ending";
    if text.len() > MAX_LINE {
        return Err(format!("it is longer than {MAX_LINE} bytes; {WANTED}"));
    }
    let (function, name) = match text.split_once('=') {
        Some((function, name)) => (function.trim(), Some(name.trim())),
        None => (text.trim(), None),
    };
    // Without a package it would be the name of nothing, or of too much.
    let prefix = function.strip_suffix('*').unwrap_or(function);
    if !prefix.contains('.') || prefix.contains(char::is_whitespace) || name == Some("") {
        return Err(WANTED.to_owned());
    }
    Ok(IdlePattern {
        name: Cow::Owned(name.unwrap_or(function).to_owned()),
        why: Cow::Owned(whence.to_owned()),
        classes: Cow::Borrowed(&[]),
        functions: vec![FunctionAt {
            place: Place::Stack,
            function: Cow::Owned(function.to_owned()),
        }],
        numbers: Numbers::Any,
        peers: Peers::Normal,
    })
}

/// The text of a file: an entry a line; empty lines and what follows a `#` at the start of a line or after
/// a space do not count. `file` is its name, for the reasons.
///
/// # Errors
/// The first line that is wrong, and how it would be right.
pub fn parse(text: &str, file: &str) -> Result<Vec<IdlePattern>, LineError> {
    let mut all = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let wrong = |why| LineError { line: i + 1, why };
        let line = without_comment(line).trim();
        if line.is_empty() {
            continue;
        }
        if all.len() == MAX_ENTRIES {
            return Err(wrong(format!("there are more than {MAX_ENTRIES} entries")));
        }
        all.push(entry(line, &format!("named idle by {file}, line {}", i + 1)).map_err(wrong)?);
    }
    Ok(all)
}

fn without_comment(line: &str) -> &str {
    if line.trim_start().starts_with('#') {
        return "";
    }
    let end = [" #", "\t#"].iter().filter_map(|mark| line.find(mark)).min();
    end.and_then(|end| line.get(..end)).unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, String)> {
        let all = parse(text, "idle.txt").unwrap();
        all.iter().map(|p| (p.functions[0].function.to_string(), p.name.to_string())).collect()
    }

    #[test]
    fn lines_name_functions_and_what_to_call_them() {
        let text = "# pools\n\nmain.(*pool).worker = image pool  # 64 of them\n\
                    example.com/x/q.(*Queue[...]).drain.func*\r\n  main.tail=tail\n";
        assert_eq!(
            read(text),
            [
                ("main.(*pool).worker".into(), "image pool".into()),
                (
                    "example.com/x/q.(*Queue[...]).drain.func*".into(),
                    "example.com/x/q.(*Queue[...]).drain.func*".into()
                ),
                ("main.tail".into(), "tail".into()),
            ]
        );
        assert_eq!(parse("main.f", "a").unwrap()[0].why, "named idle by a, line 1");
    }

    #[test]
    fn a_line_that_would_mean_nothing_or_everything_is_refused_by_its_number() {
        for wrong in ["*", "worker", "main.f =", "= name", "main f", "main. g"] {
            let error = parse(&format!("main.f\n{wrong}\n"), "a").unwrap_err();
            assert_eq!(error.line, 2, "{wrong}");
            assert!(error.to_string().contains("main.(*pool).worker"), "{error}");
        }
    }

    #[test]
    fn every_beginning_of_a_list_is_read_or_refused_by_its_number() {
        let text = "# pools\nmain.(*pool).worker = image pool\nmain.tail=tail # all\n";
        for end in 0..=text.len() {
            if let Err(error) = parse(&text[..end], "a") {
                assert!((2..=3).contains(&error.line), "{end}: {error}");
            }
        }
    }
}
