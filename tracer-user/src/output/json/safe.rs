//! JSON that is harmless also when it is shown on a terminal: what [`is_hazardous`] names is written
//! as `\uXXXX`, which means the same to a program. May use: output::clean.

use std::io::{self, BufWriter, Write};

use serde::Serialize;
use serde_json::ser::{CharEscape, CompactFormatter, Formatter};

use crate::output::clean::{is_clean, is_hazardous};

/// Bytes gathered before they are passed on.
const GATHERED: usize = 64 << 10;

struct Safe;

impl Formatter for Safe {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        if is_clean(fragment) {
            return writer.write_all(fragment.as_bytes());
        }
        let mut plain = 0;
        for (at, c) in fragment.char_indices().filter(|(_, c)| is_hazardous(*c)) {
            writer.write_all(fragment.get(plain..at).unwrap_or_default().as_bytes())?;
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                write!(writer, "\\u{unit:04x}")?;
            }
            plain = at + c.len_utf8();
        }
        writer.write_all(fragment.get(plain..).unwrap_or_default().as_bytes())
    }

    fn write_char_escape<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        escape: CharEscape,
    ) -> io::Result<()> {
        CompactFormatter.write_char_escape(writer, escape)
    }
}

/// Writes a value on one line.
///
/// # Errors
/// The writer's.
pub fn write_line(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    // JSON is written in pieces of a few bytes: they are gathered before they cross `dyn`.
    let mut out = BufWriter::with_capacity(GATHERED, out);
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, Safe))?;
    out.write_all(b"\n")?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hazardous_characters_are_escaped_and_mean_the_same() {
        for text in ["a\u{202e}b\u{9b}c\x1b[m\n\"\\", "\u{e0001}", "größe", "", "\u{7f}"] {
            let mut out = Vec::new();
            write_line(&mut out, &text).unwrap();
            let written = String::from_utf8(out).unwrap();
            assert!(!written.trim_end().chars().any(is_hazardous), "{written:?}");
            assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
        }
    }
}
