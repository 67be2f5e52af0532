//! Names, paths and labels come from the target: a tenant may have chosen them to move the cursor,
//! to recolour the terminal or to turn the reading order around. Here they lose that power.
//! May use: nothing of ours.

use std::borrow::Cow;
use std::fmt::Write;

/// Whether a character, written as it is, could do something to a terminal or to the order in which
/// a line is read, or could hide.
pub fn is_hazardous(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00ad}' // soft hyphen
            | '\u{061c}' | '\u{200e}' | '\u{200f}' // direction marks
            | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2064}' | '\u{feff}' // no width
            | '\u{2028}' | '\u{2029}' // line and paragraph separators
            | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' // direction overrides, isolates
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}') // annotations, tags
}

/// Whether a text has nothing hazardous in it. Nearly all names are printable ASCII: that is seen
/// without decoding characters.
pub fn is_clean(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b' '..=b'~')) || !text.chars().any(is_hazardous)
}

/// The text with each hazardous character written as an escape: `\t`, `\n`, `\u{1b}`.
pub fn clean(text: &str) -> Cow<'_, str> {
    if is_clean(text) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            c if is_hazardous(c) => {
                let _infallible = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_names_stay_as_they_are() {
        for name in ["main.(*Server).handle[...]", "pfad/größe.go", "main.glob..func1", "日本語.go"]
        {
            assert!(matches!(clean(name), Cow::Borrowed(n) if n == name));
        }
    }

    #[test]
    fn a_name_cannot_steer_the_terminal() {
        assert_eq!(clean("a\x1b[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(clean("a\r\n\tb"), "a\\r\\n\\tb");
        assert_eq!(clean("\u{9b}31m"), "\\u{9b}31m");
        assert_eq!(clean("x\u{7f}"), "x\\u{7f}");
    }

    #[test]
    fn a_name_cannot_turn_the_reading_order_or_hide() {
        assert_eq!(clean("a\u{202e}b"), "a\\u{202e}b");
        assert_eq!(clean("a\u{2066}b\u{200b}c"), "a\\u{2066}b\\u{200b}c");
    }
}
