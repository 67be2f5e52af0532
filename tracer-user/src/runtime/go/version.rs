//! The version a Go binary states. Release tags are `go1.N`, `go1.N.P`, `go1.NrcK`, `go1.NbetaK`;
//! unreleased ones `devel go1.N-hash date` (src/cmd/dist/build.go, `findgoversion`); behind a
//! space come experiments (`X:…`) or a vendor's words.

/// A parsed version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Version {
    /// 27 of `go1.27.3`.
    pub minor: u16,
    /// 3 of `go1.27.3`; None for a version without one.
    pub patch: Option<u16>,
}

impl Version {
    /// Reads a version; None if it does not name a Go 1 release.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix("devel ").unwrap_or(text);
        let text = text.strip_prefix("go").unwrap_or(text);
        let (minor, rest) = number(text.strip_prefix("1.")?)?;
        let patch = rest.strip_prefix('.').and_then(number).map(|(patch, _)| patch);
        Some(Self { minor, patch })
    }
}

fn number(text: &str) -> Option<(u16, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at_checked(end)?;
    Some((digits.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_whatever_follows_it() {
        let read = |text| Version::parse(text).map(|v| (v.minor, v.patch));
        assert_eq!(read("go1.27.3"), Some((27, Some(3))));
        assert_eq!(read("go1.22.3 X:boringcrypto"), Some((22, Some(3))));
        assert_eq!(read("go1.21.0-rc2"), Some((21, Some(0))));
        assert_eq!(read("go1.21rc2"), Some((21, None)));
        assert_eq!(read("go1.27-devel_abc"), Some((27, None)));
        assert_eq!(read("1.26"), Some((26, None)));
    }

    #[test]
    fn what_is_no_release_of_go_1_is_not_read() {
        for text in
            ["", "go", "go1", "go1.", "go2.1", "devel +abc", "go1.99999999", "go1.x", "unknown"]
        {
            assert_eq!(Version::parse(text), None, "{text}");
        }
    }
}
