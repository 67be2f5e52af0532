//! Which licences may go into the binary: those that ask for no more than their text beside it.

use anyhow::{Result, bail};

use super::crates::Crate;

/// Permissive licences, by their SPDX names.
const PERMITTED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Checks the licences of what goes into the binary.
///
/// # Errors
/// Names every crate whose licence is not permitted, or that states none.
pub fn check(crates: &[Crate]) -> Result<()> {
    let refused: Vec<String> = crates
        .iter()
        .filter(|it| !is_permitted(&it.licence))
        .map(|it| format!("{} {}: {:?}", it.name, it.version, it.licence))
        .collect();
    if refused.is_empty() {
        return Ok(());
    }
    bail!(
        "not permitted (xtask/src/dist/licences.rs has the list): {}. Take another crate, or say there why it may be used",
        refused.join(", ")
    )
}

/// Whether an SPDX expression can be met with permitted licences alone.
pub fn is_permitted(expression: &str) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut parser = Parser { words: &words };
    parser.either().is_some_and(|permitted| permitted && parser.words.is_empty())
}

/// `A OR B AND (C WITH exception)`; None if it makes no sense.
struct Parser<'a> {
    words: &'a [&'a str],
}

impl Parser<'_> {
    fn take(&mut self, word: &str) -> bool {
        match self.words.split_first() {
            Some((first, rest)) if *first == word => {
                self.words = rest;
                true
            }
            _ => false,
        }
    }

    fn either(&mut self) -> Option<bool> {
        let mut permitted = self.both()?;
        while self.take("OR") {
            permitted |= self.both()?;
        }
        Some(permitted)
    }

    fn both(&mut self) -> Option<bool> {
        let mut permitted = self.one()?;
        while self.take("AND") {
            permitted &= self.one()?;
        }
        Some(permitted)
    }

    fn one(&mut self) -> Option<bool> {
        if self.take("(") {
            let inner = self.either()?;
            return self.take(")").then_some(inner);
        }
        let (name, rest) = self.words.split_first()?;
        self.words = rest;
        if self.take("WITH") {
            // An exception only ever permits more.
            let (_, rest) = self.words.split_first()?;
            self.words = rest;
        }
        Some(PERMITTED.contains(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_permitted_choice_is_enough_but_all_that_apply_must_be() {
        for fine in [
            "MIT",
            "MIT OR GPL-2.0",
            "LGPL-2.1 OR Apache-2.0 WITH LLVM-exception",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "MIT/Apache-2.0",
            "Unlicense/MIT",
        ] {
            assert!(is_permitted(fine), "{fine}");
        }
        for not in
            ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT", "MIT OR", "MIT MIT", "CDDL-1.0", "WITH"]
        {
            assert!(!is_permitted(not), "{not}");
        }
    }
}
