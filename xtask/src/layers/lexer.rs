//! Rust source to the few tokens that paths are made of. Comments, strings and literals are skipped,
//! so that a word in a message is no import.

/// A token with its line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Token<'a> {
    /// What it is.
    pub kind: Kind<'a>,
    /// Counted from 1.
    pub line: usize,
}

/// What a token is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind<'a> {
    /// A word: identifier or keyword.
    Word(&'a str),
    /// `::`
    PathSeparator,
    /// Any other mark.
    Mark(u8),
}

/// All tokens of a file.
pub fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut lexer = Lexer { text, bytes: text.as_bytes(), at: 0, line: 1 };
    let mut all = Vec::new();
    while let Some(token) = lexer.next_token() {
        all.push(token);
    }
    all
}

struct Lexer<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    line: usize,
}

impl<'a> Lexer<'a> {
    fn peek(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.at + ahead).copied()
    }

    fn advance(&mut self) {
        if self.peek(0) == Some(b'\n') {
            self.line += 1;
        }
        self.at += 1;
    }

    fn advance_by(&mut self, count: usize) {
        for _ in 0..count {
            self.advance();
        }
    }

    fn next_token(&mut self) -> Option<Token<'a>> {
        loop {
            let byte = self.peek(0)?;
            match byte {
                b'/' if self.peek(1) == Some(b'/') => self.skip_line(),
                b'/' if self.peek(1) == Some(b'*') => self.skip_block_comment(),
                b'"' => self.skip_string(),
                b'\'' => self.skip_quote(),
                b':' if self.peek(1) == Some(b':') => {
                    let line = self.line;
                    self.advance_by(2);
                    return Some(Token { kind: Kind::PathSeparator, line });
                }
                _ if is_word(byte) => {
                    let (start, line) = (self.at, self.line);
                    while self.peek(0).is_some_and(is_word) {
                        self.advance();
                    }
                    let word = self.text.get(start..self.at).unwrap_or_default();
                    if self.is_raw_string(word) {
                        self.skip_raw_string();
                        continue;
                    }
                    return Some(Token { kind: Kind::Word(word), line });
                }
                _ if byte.is_ascii_whitespace() => self.advance(),
                _ => {
                    let line = self.line;
                    self.advance();
                    return Some(Token { kind: Kind::Mark(byte), line });
                }
            }
        }
    }

    fn skip_line(&mut self) {
        while self.peek(0).is_some_and(|byte| byte != b'\n') {
            self.advance();
        }
    }

    fn skip_block_comment(&mut self) {
        let mut depth = 0_usize;
        while let Some(byte) = self.peek(0) {
            match (byte, self.peek(1)) {
                (b'/', Some(b'*')) => {
                    depth += 1;
                    self.advance_by(2);
                }
                (b'*', Some(b'/')) => {
                    depth -= 1;
                    self.advance_by(2);
                    if depth == 0 {
                        return;
                    }
                }
                _ => self.advance(),
            }
        }
    }

    fn skip_string(&mut self) {
        self.advance();
        while let Some(byte) = self.peek(0) {
            match byte {
                b'\\' => self.advance_by(2),
                b'"' => return self.advance(),
                _ => self.advance(),
            }
        }
    }

    fn is_raw_string(&self, word: &str) -> bool {
        if !matches!(word, "r" | "br" | "cr") {
            return false;
        }
        let hashes = self.hashes();
        self.peek(hashes) == Some(b'"')
    }

    fn hashes(&self) -> usize {
        let mut count = 0;
        while self.peek(count) == Some(b'#') {
            count += 1;
        }
        count
    }

    fn skip_raw_string(&mut self) {
        let hashes = self.hashes();
        self.advance_by(hashes + 1);
        while let Some(byte) = self.peek(0) {
            self.advance();
            if byte == b'"' && self.hashes() >= hashes {
                return self.advance_by(hashes);
            }
        }
    }

    /// A character literal, or the quote of a lifetime.
    fn skip_quote(&mut self) {
        self.advance();
        if self.peek(0) == Some(b'\\') {
            self.advance_by(2);
            while self.peek(0).is_some_and(|byte| byte != b'\'') {
                self.advance();
            }
            return self.advance();
        }
        let rest = self.text.get(self.at..).unwrap_or_default();
        let length = rest.chars().next().map_or(0, char::len_utf8);
        if self.peek(length) == Some(b'\'') {
            self.advance_by(length + 1);
        }
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<&str> {
        let word = |token: Token<'static>| match token.kind {
            Kind::Word(word) => Some(word),
            _ => None,
        };
        let text: &'static str = String::leak(text.to_owned());
        tokens(text).into_iter().filter_map(word).collect()
    }

    #[test]
    fn comments_and_strings_hold_no_words() {
        assert_eq!(words("a // b\n/* c /* d */ e */ f \"g \\\" h\" i"), ["a", "f", "i"]);
        assert_eq!(words("r#\"a \" b\"# c b\"d\" e"), ["c", "b", "e"]);
    }

    #[test]
    fn a_lifetime_is_not_the_start_of_a_character() {
        assert_eq!(
            words("fn f<'a>(x: &'a str, y: 'b') 'c'"),
            ["fn", "f", "a", "x", "a", "str", "y"]
        );
        assert_eq!(words(r"'\'' a '\u{1F600}' b 'ä' c"), ["a", "b", "c"]);
    }

    #[test]
    fn lines_are_counted_through_strings() {
        let all = tokens("\"\n\n\"\nx");
        assert_eq!(all, [Token { kind: Kind::Word("x"), line: 4 }]);
    }
}
