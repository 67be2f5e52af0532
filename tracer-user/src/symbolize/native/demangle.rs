//! Names as people write them, of Rust and C++. A short mangled name can stand for one without
//! end, so what is written is cut.

use std::fmt::{self, Write as _};

/// Most bytes of a mangled name that are looked at; compilers hash what is longer.
const MAX_MANGLED: usize = 4096;
/// Most bytes of a name that are kept.
const MAX_NAME: usize = 1024;
/// Most levels of nesting in a C++ name.
const MAX_NESTING: u32 = 64;

/// Takes text up to a bound, then ends the writing.
struct Bounded(String);

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = MAX_NAME.saturating_sub(self.0.len());
        if text.len() <= room {
            self.0.push_str(text);
            return Ok(());
        }
        let end = (0..=room).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
        self.0.push_str(text.get(..end).unwrap_or_default());
        self.0.push('…');
        Err(fmt::Error)
    }
}

/// The name as people write it: without hash, parameters and version; as it is if it is not
/// mangled. Control characters are replaced.
pub fn demangled(raw: &str) -> String {
    let name = raw.split_once('@').map_or(raw, |(name, _)| name);
    // An alias of glibc for calls from within itself.
    let name = name.strip_prefix("__GI_").unwrap_or(name);
    let written = rust(name).or_else(|| cpp(name)).unwrap_or_else(|| cut(name));
    if written.chars().any(char::is_control) {
        return written.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    }
    written
}

fn rust(name: &str) -> Option<String> {
    if name.len() > MAX_MANGLED || !(name.starts_with("_R") || name.starts_with("_ZN")) {
        return None;
    }
    let parsed = rustc_demangle::try_demangle(name).ok()?;
    let mut out = Bounded(String::new());
    // That the bound was reached shows in the text.
    let _ = write!(out, "{parsed:#}");
    // What has no hash at its end is C++ of the same scheme.
    let legacy = name.starts_with("_ZN");
    (!out.0.is_empty() && (!legacy || has_hash(name))).then_some(out.0)
}

/// Rust's older scheme ends in `17h`, 16 hex digits and `E`, suffixes aside.
fn has_hash(name: &str) -> bool {
    name.rfind("17h").is_some_and(|at| {
        let digits = name.get(at.saturating_add(3)..at.saturating_add(19));
        digits.is_some_and(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))
    })
}

fn cpp(name: &str) -> Option<String> {
    if name.len() > MAX_MANGLED || !name.starts_with("_Z") {
        return None;
    }
    let parse = cpp_demangle::ParseOptions::default().recursion_limit(MAX_NESTING);
    let symbol = cpp_demangle::Symbol::new_with_options(name, &parse).ok()?;
    let options = cpp_demangle::DemangleOptions::new()
        .no_params()
        .no_return_type()
        .recursion_limit(MAX_NESTING);
    let mut out = Bounded(String::new());
    let whole = symbol.structured_demangle(&mut out, &options).is_ok();
    (whole || out.0.ends_with('…')).then_some(out.0).filter(|text| !text.is_empty())
}

fn cut(name: &str) -> String {
    let mut out = Bounded(String::new());
    let _ = out.write_str(name);
    out.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_as_people_do() {
        assert_eq!(demangled("pthread_mutex_lock@@GLIBC_2.2.5"), "pthread_mutex_lock");
        assert_eq!(demangled("_ZN3std6thread5sleep17h0123456789abcdefE"), "std::thread::sleep");
        assert_eq!(demangled("_ZN5boost6thread4joinEv"), "boost::thread::join");
        assert_eq!(demangled("_Z4workRKSs"), "work");
    }

    #[test]
    fn what_stands_for_a_name_without_end_is_cut() {
        // Each reference doubles what it stands for.
        let mut name = String::from("_Z1fSt4pairIiiE");
        for i in 0..30 {
            name.push_str(&format!("S{}_", char::from(b'A' + (i % 26) as u8)));
        }
        let long = format!("_Z{}{}v", 3000, "a".repeat(3000));
        for text in [name, long, "x".repeat(10_000), "_R".repeat(1000)] {
            assert!(demangled(&text).len() <= MAX_NAME + 3);
        }
        assert_eq!(demangled("a\nb"), "a\u{fffd}b");
    }
}
