//! Go's build information: which Go made a binary, from which module and with which settings.
//!
//! Source: src/debug/buildinfo/buildinfo.go and src/runtime/debug/mod.go (`ParseBuildInfo`) of
//! Go 1.19 to 1.27. Since 1.18 two strings stand inline behind the header; before, the header
//! points to them, which is read only to be able to say which version it is.

use super::ByteSource;
use super::bytes::{u8_at, u64_at};
use super::elf::{ElfError, Image, Segment};

const MAGIC: &[u8] = b"\xff Go buildinf:";
/// The linker aligns the header to this.
const ALIGN: usize = 16;
const HEADER: usize = 32;
const FLAG_INLINE: u8 = 2;
const FLAG_BIG_ENDIAN: u8 = 1;
/// Bytes around the module information, there to find it by.
const SENTINEL: usize = 16;

/// Bytes of a segment that are searched at most. The header is at the start of the data.
pub const MAX_SCAN: u64 = 64 << 20;
/// Bytes of a version read at most.
pub const MAX_VERSION: usize = 256;
/// Bytes of module information read at most: about 10 000 dependencies.
pub const MAX_MODULE_INFO: usize = 1 << 20;
/// Settings kept at most; Go writes about twenty.
pub const MAX_SETTINGS: usize = 256;
const CHUNK: usize = 1 << 20;

/// What a Go binary says of its build.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GoBuild {
    /// Version of Go, such as `go1.27.3` or `go1.22.3 X:boringcrypto`.
    pub version: Box<str>,
    /// Path of the main package.
    pub path: Option<Box<str>>,
    /// Path of the main module.
    pub module: Option<Box<str>>,
    /// Version of the main module.
    pub module_version: Option<Box<str>>,
    /// How many modules it depends on.
    pub dependencies: usize,
    /// Settings in their order: `-buildmode`, `GOARCH`, `vcs.revision` and others.
    pub settings: Vec<(Box<str>, Box<str>)>,
}

impl GoBuild {
    /// A setting's value.
    pub fn setting(&self, key: &str) -> Option<&str> {
        self.settings.iter().find(|(k, _)| &**k == key).map(|(_, value)| &**value)
    }
}

/// Why there is no build information.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BuildInfoError {
    /// It was not made by Go, or by a Go older than 1.13.
    #[error("not a Go program: it has no Go build information")]
    NotGo,
    /// It is there, but makes no sense.
    #[error("the Go build information is malformed: {0}")]
    Malformed(&'static str),
    /// The file could not be read.
    #[error("reading the Go build information: {0}")]
    Elf(#[from] ElfError),
}

/// Finds and reads the build information of a file: in section `.go.buildinfo`, which every Go
/// linker makes; only in a file without a section table by its magic in the data. So a file that
/// Go did not make costs no search.
///
/// # Errors
/// If there is none, or it is malformed.
pub fn read(image: &Image, source: &(impl ByteSource + ?Sized)) -> Result<GoBuild, BuildInfoError> {
    let reader = Reader { image, source };
    if let Some(section) = image.section(".go.buildinfo") {
        return reader.at(section.vaddr);
    }
    if !image.sections().is_empty() {
        return Err(BuildInfoError::NotGo);
    }
    let mut failed = BuildInfoError::NotGo;
    for segment in image.segments().iter().filter(|s| s.writable) {
        match reader.search(segment) {
            Ok(found) => return Ok(found),
            Err(BuildInfoError::NotGo) => {}
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// Reads build information that starts at the first byte and has its strings inline.
///
/// # Errors
/// If it is not there, malformed, or cut off.
pub fn parse(bytes: &[u8]) -> Result<GoBuild, BuildInfoError> {
    if !bytes.starts_with(MAGIC) {
        return Err(BuildInfoError::NotGo);
    }
    let flags = u8_at(bytes, 15).ok_or(BuildInfoError::Malformed("its header is cut off"))?;
    if flags & FLAG_INLINE == 0 {
        return Err(BuildInfoError::Malformed("its strings are elsewhere"));
    }
    let mut rest = bytes.get(HEADER..).unwrap_or_default();
    let version = inline_string(&mut rest, MAX_VERSION)
        .ok_or(BuildInfoError::Malformed("the version is cut off or too long"))?;
    let module = inline_string(&mut rest, MAX_MODULE_INFO)
        .ok_or(BuildInfoError::Malformed("the module information is cut off or too long"))?;
    Ok(build(version, module))
}

struct Reader<'a, S: ?Sized> {
    image: &'a Image,
    source: &'a S,
}

impl<S: ByteSource + ?Sized> Reader<'_, S> {
    /// As much as can be had from `vaddr` on.
    fn bytes(&self, vaddr: u64, max: usize) -> Result<Vec<u8>, ElfError> {
        let available = self.image.loaded_from(vaddr);
        let len = usize::try_from(available).unwrap_or(max).min(max);
        let mut buf = vec![0u8; len];
        self.image.read(self.source, vaddr, &mut buf)?;
        Ok(buf)
    }

    fn at(&self, vaddr: u64) -> Result<GoBuild, BuildInfoError> {
        let header = self.bytes(vaddr, HEADER)?;
        if !header.starts_with(MAGIC) {
            return Err(BuildInfoError::NotGo);
        }
        let flags = u8_at(&header, 15).unwrap_or(0);
        if flags & FLAG_INLINE != 0 {
            return parse(&self.bytes(vaddr, HEADER + 10 + MAX_VERSION + 10 + MAX_MODULE_INFO)?);
        }
        if u8_at(&header, 14) != Some(8) || flags & FLAG_BIG_ENDIAN != 0 {
            return Err(BuildInfoError::Malformed("it is for another processor"));
        }
        let string = |at, max| self.go_string(u64_at(&header, at).unwrap_or(0), max);
        let version = string(16, MAX_VERSION)?;
        let module = string(24, MAX_MODULE_INFO).unwrap_or_default();
        Ok(build(&version, &module))
    }

    /// A string of Go: its header is at `vaddr` and holds address and length.
    fn go_string(&self, vaddr: u64, max: usize) -> Result<Vec<u8>, BuildInfoError> {
        let header = self.bytes(vaddr, 16)?;
        let (Some(text), Some(len)) = (u64_at(&header, 0), u64_at(&header, 8)) else {
            return Err(BuildInfoError::Malformed("a string's header is cut off"));
        };
        let len = usize::try_from(len).ok().filter(|&len| len <= max);
        let len = len.ok_or(BuildInfoError::Malformed("a string is too long"))?;
        Ok(self.bytes(text, len)?)
    }

    /// Tries every place with the magic: programs that look for it have it in their data.
    fn search(&self, segment: &Segment) -> Result<GoBuild, BuildInfoError> {
        let size = segment.file_size.min(MAX_SCAN);
        let mut failed = BuildInfoError::NotGo;
        let mut done = 0u64;
        while done < size {
            let start = segment.vaddr.checked_add(done).ok_or(BuildInfoError::NotGo)?;
            // Pieces overlap, so that no magic is split.
            let want = usize::try_from(size - done).unwrap_or(CHUNK).min(CHUNK + MAGIC.len());
            let chunk = self.bytes(start, want)?;
            for at in memchr::memmem::find_iter(&chunk, MAGIC) {
                let vaddr = start.wrapping_add(at as u64);
                if vaddr % ALIGN as u64 != 0 {
                    continue;
                }
                match self.at(vaddr) {
                    Ok(found) => return Ok(found),
                    Err(error) => failed = error,
                }
            }
            done = done.saturating_add(CHUNK as u64);
        }
        Err(failed)
    }
}

/// A string behind its length.
fn inline_string<'b>(rest: &mut &'b [u8], max: usize) -> Option<&'b [u8]> {
    let mut len = 0u64;
    let mut shift = 0;
    loop {
        let (&byte, tail) = rest.split_first()?;
        *rest = tail;
        len |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            break;
        }
        shift += 7;
        if shift > 28 {
            return None;
        }
    }
    let len = usize::try_from(len).ok().filter(|&len| len <= max)?;
    let (text, tail) = rest.split_at_checked(len)?;
    *rest = tail;
    Some(text)
}

fn text(bytes: &[u8]) -> Box<str> {
    String::from_utf8_lossy(bytes).into()
}

fn build(version: &[u8], module: &[u8]) -> GoBuild {
    let mut build = GoBuild { version: text(version), ..GoBuild::default() };
    let inner = module.len().checked_sub(SENTINEL).and_then(|end| module.get(SENTINEL..end));
    for line in inner.unwrap_or_default().split(|&b| b == b'\n') {
        let mut words = line.split(|&b| b == b'\t');
        let mut word = || words.next().filter(|w| !w.is_empty()).map(text);
        match word().as_deref() {
            Some("path") => build.path = word(),
            Some("mod") => {
                build.module = word();
                build.module_version = word();
            }
            Some("dep") => build.dependencies = build.dependencies.saturating_add(1),
            Some("build") => {
                let setting = line.strip_prefix(b"build\t").unwrap_or_default();
                if build.settings.len() < MAX_SETTINGS {
                    build.settings.extend(key_and_value(setting));
                }
            }
            _ => {}
        }
    }
    build
}

/// `key=value`; either is quoted as in Go source if it holds what would break the line.
fn key_and_value(setting: &[u8]) -> Option<(Box<str>, Box<str>)> {
    let setting = std::str::from_utf8(setting).ok()?;
    let (key, value) = if setting.starts_with('"') {
        let end = closing_quote(setting)?;
        (unquoted(setting.get(..end)?), setting.get(end..)?.strip_prefix('=')?)
    } else {
        let (key, value) = setting.split_once('=')?;
        (key.into(), value)
    };
    Some((key, if value.starts_with('"') { unquoted(value) } else { value.into() }))
}

/// Where a quoted string ends, behind its last quote.
fn closing_quote(quoted: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in quoted.char_indices().skip(1) {
        match c {
            '"' if !escaped => return at.checked_add(1),
            '\\' if !escaped => escaped = true,
            _ => escaped = false,
        }
    }
    None
}

/// Takes off the quotes and the escapes that Go writes for printable text; others stay as they
/// are.
fn unquoted(quoted: &str) -> Box<str> {
    let inner = quoted.strip_prefix('"').and_then(|q| q.strip_suffix('"')).unwrap_or(quoted);
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some(other @ ('"' | '\\')) => out.push(other),
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inline(version: &str, module: &str) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([8, FLAG_INLINE]);
        bytes.resize(HEADER, 0);
        let module = format!("{0}{module}{0}", "=".repeat(SENTINEL));
        for text in [version, &module] {
            let mut len = text.len();
            while len >= 0x80 {
                bytes.push(len as u8 | 0x80);
                len >>= 7;
            }
            bytes.push(len as u8);
            bytes.extend(text.as_bytes());
        }
        bytes
    }

    const MODULE: &str = "path\texample.com/shop/cmd/cart\n\
        mod\texample.com/shop\tv1.4.0\th1:abc=\n\
        dep\tgolang.org/x/net\tv0.30.0\th1:def=\n\
        =>\texample.com/net\tv0.30.1\n\
        dep\tgolang.org/x/sync\tv0.8.0\th1:ghi=\n\
        build\t-buildmode=pie\n\
        build\t-ldflags=\"-X 'main.a=b c'\\n\"\n\
        build\t\"odd=key\"=1\n\
        build\tvcs.modified=true\n";

    #[test]
    fn the_module_and_the_settings_are_read() {
        let build = parse(&inline("go1.22.3 X:boringcrypto", MODULE)).unwrap();
        assert_eq!(&*build.version, "go1.22.3 X:boringcrypto");
        assert_eq!(build.path.as_deref(), Some("example.com/shop/cmd/cart"));
        assert_eq!(build.module.as_deref(), Some("example.com/shop"));
        assert_eq!(build.module_version.as_deref(), Some("v1.4.0"));
        assert_eq!(build.dependencies, 2);
        assert_eq!(build.setting("-buildmode"), Some("pie"));
        assert_eq!(build.setting("-ldflags"), Some("-X 'main.a=b c'\n"));
        assert_eq!(build.setting("odd=key"), Some("1"));
        assert_eq!(build.setting("vcs.modified"), Some("true"));
        assert_eq!(build.settings.len(), 4);
    }

    #[test]
    fn a_program_without_module_information_still_has_a_version() {
        let mut bytes = inline("go1.27.3", "");
        bytes.truncate(HEADER + 1 + "go1.27.3".len());
        bytes.push(0);
        assert_eq!(&*parse(&bytes).unwrap().version, "go1.27.3");
    }

    #[test]
    fn a_prefix_of_build_information_is_an_error_and_no_more() {
        let whole = inline("go1.27.3", MODULE);
        for len in 0..whole.len() {
            assert!(parse(whole.get(..len).unwrap()).is_err(), "{len}");
        }
    }

    #[test]
    fn the_settings_kept_are_bounded() {
        let many = "build\tk=v\n".repeat(10_000);
        assert_eq!(parse(&inline("go1.27.3", &many)).unwrap().settings.len(), MAX_SETTINGS);
    }

    #[test]
    fn a_length_that_is_not_there_is_an_error() {
        let mut bytes = inline("go1.27.3", "");
        bytes.truncate(HEADER);
        bytes.extend([0xff; 20]);
        assert!(parse(&bytes).is_err());
    }
}
