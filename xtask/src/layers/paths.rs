//! The paths a file names, written out from the root: `use crate::{a::b, c}` is `crate::a::b` and `crate::c`.

use super::lexer::{Kind, Token, tokens};

/// A path that a file uses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UsedPath {
    /// `["crate", "model", "Model"]`, `["std", "fs"]`
    pub segments: Vec<String>,
    /// The line.
    pub line: usize,
    /// Whether it is in code that only tests see.
    pub in_test: bool,
}

/// All paths of two and more segments in a file; `module` is where the file is: `["model", "merge"]`. `super` and `self`
/// are resolved to `crate`.
pub fn used(text: &str, module: &[&str]) -> Vec<UsedPath> {
    let tokens = tokens(text);
    let mut reader = Reader { tokens: &tokens, at: 0, scopes: Vec::new(), found: Vec::new() };
    reader.read(module);
    reader.found
}

/// An open brace.
struct Scope {
    /// The module that it opens, if it does.
    module: Option<String>,
    test: bool,
}

struct Reader<'a> {
    tokens: &'a [Token<'a>],
    at: usize,
    scopes: Vec<Scope>,
    found: Vec<UsedPath>,
}

impl Reader<'_> {
    fn kind(&self, ahead: usize) -> Option<Kind<'_>> {
        self.tokens.get(self.at + ahead).map(|token| token.kind)
    }

    fn word(&self, ahead: usize) -> Option<String> {
        match self.kind(ahead) {
            Some(Kind::Word(word)) => Some(word.to_owned()),
            _ => None,
        }
    }

    fn read(&mut self, module: &[&str]) {
        let mut test_next = false;
        let mut opens: Option<String> = None;
        while let Some(kind) = self.kind(0) {
            match kind {
                Kind::Mark(b'#') if self.is_test_attribute() => {
                    test_next = true;
                    self.at += 1;
                }
                Kind::Mark(b'{') => {
                    let test = std::mem::take(&mut test_next);
                    self.scopes.push(Scope { module: opens.take(), test });
                    self.at += 1;
                }
                Kind::Mark(b'}') => {
                    self.scopes.pop();
                    self.at += 1;
                }
                Kind::Mark(b';') => {
                    (test_next, opens) = (false, None);
                    self.at += 1;
                }
                Kind::Word("mod") => {
                    opens = self.word(1);
                    self.at += 2;
                }
                Kind::Word(_) => {
                    let inside: Vec<_> = module
                        .iter()
                        .map(|name| (*name).to_owned())
                        .chain(self.scopes.iter().filter_map(|scope| scope.module.clone()))
                        .collect();
                    let in_test = test_next || self.scopes.iter().any(|scope| scope.test);
                    self.read_path(&inside, in_test);
                }
                _ => self.at += 1,
            }
        }
    }

    /// `#[cfg(test)]`, `#[test]` and the like.
    fn is_test_attribute(&self) -> bool {
        if self.kind(1) != Some(Kind::Mark(b'[')) {
            return false;
        }
        matches!(
            (self.kind(2), self.kind(4)),
            (Some(Kind::Word("test")), _) | (Some(Kind::Word("cfg")), Some(Kind::Word("test")))
        )
    }

    fn read_path(&mut self, inside: &[String], in_test: bool) {
        let line = self.tokens.get(self.at).map_or(0, |token| token.line);
        let mut full = Vec::new();
        self.read_tree(&[], &mut full);
        for segments in full {
            let segments = resolve(segments, inside);
            if segments.len() > 1 {
                self.found.push(UsedPath { segments, line, in_test });
            }
        }
    }

    /// A path, or a tree of paths in braces, behind a prefix.
    fn read_tree(&mut self, prefix: &[String], full: &mut Vec<Vec<String>>) {
        let mut segments = prefix.to_vec();
        loop {
            match self.kind(0) {
                Some(Kind::Word(word)) => {
                    segments.push(word.to_owned());
                    self.at += 1;
                }
                Some(Kind::Mark(b'*')) if !prefix.is_empty() || segments.len() > prefix.len() => {
                    self.at += 1;
                    break;
                }
                Some(Kind::Mark(b'{')) if !segments.is_empty() => {
                    self.at += 1;
                    return self.read_group(&segments, full);
                }
                _ => break,
            }
            if self.kind(0) != Some(Kind::PathSeparator) {
                break;
            }
            self.at += 1;
        }
        full.push(segments);
    }

    fn read_group(&mut self, prefix: &[String], full: &mut Vec<Vec<String>>) {
        while let Some(kind) = self.kind(0) {
            match kind {
                Kind::Mark(b'}') => {
                    self.at += 1;
                    return;
                }
                Kind::Word("as") => self.at += 2,
                Kind::Word(_) => self.read_tree(prefix, full),
                _ => self.at += 1,
            }
        }
    }
}

/// `super::x` and `self::x` to `crate::...::x`.
fn resolve(segments: Vec<String>, inside: &[String]) -> Vec<String> {
    let supers = segments.iter().take_while(|segment| *segment == "super").count();
    let own = segments.first().is_some_and(|first| first == "self");
    if supers == 0 && !own {
        return segments;
    }
    let kept = inside.len().saturating_sub(supers);
    let root = std::iter::once("crate".to_owned());
    let rest = segments.into_iter().skip(supers.max(usize::from(own)));
    root.chain(inside.iter().take(kept).cloned()).chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str, module: &[&str]) -> Vec<String> {
        used(text, module).into_iter().map(|path| path.segments.join("::")).collect()
    }

    #[test]
    fn groups_are_written_out() {
        assert_eq!(
            paths("use crate::{base::{Pid, time as t}, model::*, view};", &["detect"]),
            ["crate::base::Pid", "crate::base::time", "crate::model", "crate::view"]
        );
    }

    #[test]
    fn super_reaches_out_of_its_module() {
        assert_eq!(
            paths("use super::super::output::Text;", &["model", "merge"]),
            ["crate::output::Text"]
        );
        assert_eq!(paths("mod inner { use super::super::view; }", &["model"]), ["crate::view"]);
        assert_eq!(paths("use self::merge::Merge;", &["model"]), ["crate::model::merge::Merge"]);
    }

    #[test]
    fn paths_in_expressions_count() {
        assert_eq!(
            paths("fn f() { let x = crate::pipeline::run(std::fs::read(y)); }", &["model"]),
            ["crate::pipeline::run", "std::fs::read"]
        );
    }

    #[test]
    fn test_code_is_known_as_such() {
        let text = "fn f() { std::fs::read(x); } #[cfg(test)] mod tests { fn g() { std::fs::write(x); } } fn h() { std::net::a(); }";
        let tests: Vec<_> = used(text, &["object"]).into_iter().map(|path| path.in_test).collect();
        assert_eq!(tests, [false, true, false]);
    }
}
