//! Lines on a page of a known width: tinted pieces, cut at the edge, wrapped under a label. Every
//! piece of text passes [`clean`] on its way in, so nothing from the target reaches the terminal
//! as it is. May use: nothing of ours but `clean`.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::output::clean::clean;

/// Widths below this make no sense: a page is then as wide as this.
pub const MIN_WIDTH: usize = 40;

/// Whether to write colours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Color {
    /// Text alone.
    Plain,
    /// ANSI escapes around it.
    Ansi,
}

/// For whom a page is made.
#[derive(Clone, Debug)]
pub struct TextOptions {
    /// Columns; None = no terminal: nothing is cut or wrapped.
    pub width: Option<usize>,
    /// Colours.
    pub color: Color,
    /// Zone in which times are shown.
    pub zone: jiff::tz::TimeZone,
}

/// What a piece of text is, which decides its colour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tint {
    /// Ordinary text.
    Plain,
    /// Headings, counts.
    Strong,
    /// What matters less: labels, paths.
    Faint,
    /// Function names.
    Name,
    /// In order.
    Good,
    /// To be looked at.
    Warn,
    /// Wrong.
    Bad,
}

impl Tint {
    fn style(self) -> Style {
        match self {
            Tint::Plain => Style::new(),
            Tint::Strong => Style::new().bold(),
            Tint::Faint => Style::new().dimmed(),
            Tint::Name => AnsiColor::Cyan.on_default(),
            Tint::Good => AnsiColor::Green.on_default(),
            Tint::Warn => AnsiColor::Yellow.on_default().bold(),
            Tint::Bad => AnsiColor::Red.on_default().bold(),
        }
    }
}

/// Columns a text takes.
pub fn columns(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// The start of a text, as long as it fits into `width` columns.
fn prefix(text: &str, width: usize) -> &str {
    let mut used = 0;
    let end = text.char_indices().find(|(_, c)| {
        used += c.width().unwrap_or(0);
        used > width
    });
    end.and_then(|(at, _)| text.get(..at)).unwrap_or(text)
}

/// The start of a text that fits into `width` columns, an ellipsis at its end if it was cut.
pub fn cut(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let ellipsis = if width > 0 { "…" } else { "" };
    format!("{}{ellipsis}", prefix(text, width.saturating_sub(1)))
}

/// The text cut in its middle, so that its end (the method, the file) stays.
pub fn cut_middle(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let keep_end = width.saturating_sub(1) * 2 / 3;
    let mut tail: Vec<char> = Vec::new();
    let mut used = 0;
    for c in text.chars().rev() {
        let w = c.width().unwrap_or(0);
        if used + w > keep_end {
            break;
        }
        used += w;
        tail.push(c);
    }
    let head = cut(text, width.saturating_sub(used));
    head + &tail.into_iter().rev().collect::<String>()
}

/// A path (with `:line` at its end or without) shortened to `width` columns: directories go first,
/// from the middle; the file stays as long as it can.
pub fn cut_path(path: &str, width: usize) -> String {
    if columns(path) <= width {
        return path.to_owned();
    }
    let parts: Vec<&str> = path.split('/').collect();
    let (Some(file), Some(first)) = (parts.last(), parts.iter().find(|p| !p.is_empty())) else {
        return cut_middle(path, width);
    };
    let lead =
        if path.starts_with('/') { format!("/{first}/…/") } else { format!("{first}/…/") };
    let tail_within = |lead: usize| {
        let room = width.checked_sub(lead)?;
        let mut tail = (*file).to_owned();
        for part in parts.iter().rev().skip(1) {
            if columns(&tail) + columns(part) + 1 > room {
                break;
            }
            tail = format!("{part}/{tail}");
        }
        (columns(&tail) <= room).then_some(tail)
    };
    // The first directory is worth its place only while the file's own directory is there too.
    if let Some(tail) = tail_within(columns(&lead)).filter(|t| t.contains('/')) {
        return lead + &tail;
    }
    match tail_within(2) {
        Some(tail) => format!("…/{tail}"),
        None => cut_middle(file, width),
    }
}

/// One line under construction.
#[derive(Clone, Default, Debug)]
pub struct Line {
    pieces: Vec<(Tint, String)>,
    width: usize,
}

impl Line {
    /// An empty line.
    pub fn new() -> Self {
        Self::default()
    }

    /// Columns so far.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Adds text.
    #[must_use]
    pub fn add(mut self, tint: Tint, text: &str) -> Self {
        self.push(tint, text);
        self
    }

    /// Adds text in place.
    pub fn push(&mut self, tint: Tint, text: &str) {
        let text = clean(text).into_owned();
        self.width += columns(&text);
        self.pieces.push((tint, text));
    }

    /// Adds spaces up to column `column`, at least one.
    #[must_use]
    pub fn pad_to(mut self, column: usize) -> Self {
        self.push(Tint::Plain, &" ".repeat(column.saturating_sub(self.width).max(1)));
        self
    }

    /// Adds another line's pieces.
    #[must_use]
    pub fn join(mut self, other: Line) -> Self {
        self.width += other.width;
        self.pieces.extend(other.pieces);
        self
    }
}

/// A page being written.
pub struct Page<'a> {
    out: &'a mut dyn Write,
    width: Option<usize>,
    color: Color,
}

/// Columns of the labels of [`Page::field`], with the indentation before them.
pub const LABEL: usize = 13;

impl<'a> Page<'a> {
    /// A page on this writer.
    pub fn new(out: &'a mut dyn Write, options: &TextOptions) -> Self {
        Self { out, width: options.width.map(|w| w.max(MIN_WIDTH)), color: options.color }
    }

    /// Columns right of `indent`; None = no edge.
    pub fn room(&self, indent: usize) -> Option<usize> {
        self.width.map(|w| w.saturating_sub(indent))
    }

    /// Writes a line, cut at the edge.
    ///
    /// # Errors
    /// The writer's.
    pub fn line(&mut self, line: &Line) -> io::Result<()> {
        let edge = self.width.filter(|&w| line.width > w);
        let mut room = edge.map_or(usize::MAX, |w| w.saturating_sub(1));
        // Spaces at the end of a line are left out.
        let last = line.pieces.iter().rposition(|(_, t)| !t.trim_end().is_empty());
        for (i, (tint, text)) in line.pieces.iter().enumerate().take(last.map_or(0, |i| i + 1)) {
            let kept = prefix(text, room);
            let text = if Some(i) == last { kept.trim_end() } else { kept };
            self.piece(*tint, text)?;
            if kept.len() < line.pieces.get(i).map_or(0, |(_, t)| t.len()) {
                break;
            }
            room = room.saturating_sub(columns(kept));
        }
        self.out.write_all(if edge.is_some() { "…\n" } else { "\n" }.as_bytes())
    }

    fn piece(&mut self, tint: Tint, text: &str) -> io::Result<()> {
        match (self.color, tint) {
            _ if text.is_empty() => Ok(()),
            (Color::Plain, _) | (_, Tint::Plain) => self.out.write_all(text.as_bytes()),
            (Color::Ansi, tint) => {
                let style = tint.style();
                write!(self.out, "{style}{text}{style:#}")
            }
        }
    }

    /// Writes an empty line.
    ///
    /// # Errors
    /// The writer's.
    pub fn blank(&mut self) -> io::Result<()> {
        self.out.write_all(b"\n")
    }

    /// Writes a label and, beside it, a line.
    ///
    /// # Errors
    /// The writer's.
    pub fn field(&mut self, label: &str, value: Line) -> io::Result<()> {
        self.line(&label_line(label).join(value))
    }

    /// Writes a label and, beside it, words, wrapped under one another.
    ///
    /// # Errors
    /// The writer's.
    pub fn field_words(&mut self, label: &str, tint: Tint, words: &str) -> io::Result<()> {
        let words = clean(words);
        for (i, row) in wrap(&words, self.room(LABEL)).into_iter().enumerate() {
            let label = if i == 0 { label } else { "" };
            self.field(label, Line::new().add(tint, &row))?;
        }
        Ok(())
    }

    /// Writes a label and, beside it, a list: each item wrapped behind a dash.
    ///
    /// # Errors
    /// The writer's.
    pub fn field_items<'t>(
        &mut self,
        label: &str,
        tint: Tint,
        items: impl IntoIterator<Item = &'t str>,
    ) -> io::Result<()> {
        let mut label = label;
        for item in items {
            let item = clean(item);
            for (i, row) in wrap(&item, self.room(LABEL + 2)).into_iter().enumerate() {
                let dash = if i == 0 { "- " } else { "  " };
                self.field(label, Line::new().add(Tint::Faint, dash).add(tint, &row))?;
                label = "";
            }
        }
        Ok(())
    }

    /// Writes words, wrapped, after `indent` columns.
    ///
    /// # Errors
    /// The writer's.
    pub fn words(&mut self, indent: usize, tint: Tint, words: &str) -> io::Result<()> {
        let words = clean(words);
        for row in wrap(&words, self.room(indent)) {
            self.line(&Line::new().add(Tint::Plain, &" ".repeat(indent)).add(tint, &row))?;
        }
        Ok(())
    }
}

fn label_line(label: &str) -> Line {
    Line::new().add(Tint::Faint, &format!("  {label}")).pad_to(LABEL)
}

/// Breaks words into rows of at most `room` columns; a longer word stands alone and is cut later.
fn wrap(words: &str, room: Option<usize>) -> Vec<String> {
    let Some(room) = room else { return vec![words.to_owned()] };
    let mut rows = Vec::new();
    let mut row = String::new();
    for word in words.split(' ').filter(|w| !w.is_empty()) {
        if !row.is_empty() && columns(&row) + 1 + columns(word) > room {
            rows.push(std::mem::take(&mut row));
        }
        if !row.is_empty() {
            row.push(' ');
        }
        row.push_str(word);
    }
    rows.push(row);
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(width: Option<usize>, color: Color) -> TextOptions {
        TextOptions { width, color, zone: jiff::tz::TimeZone::UTC }
    }

    fn written(
        width: Option<usize>,
        color: Color,
        write: impl FnOnce(&mut Page) -> io::Result<()>,
    ) -> String {
        let mut out = Vec::new();
        write(&mut Page::new(&mut out, &options(width, color))).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_path_loses_its_middle_and_keeps_its_file() {
        let path = "/usr/local/go/src/net/http/server.go:3160";
        assert_eq!(cut_path(path, 60), path);
        assert_eq!(cut_path(path, 30), "/usr/…/net/http/server.go:3160");
        assert_eq!(cut_path(path, 25), "…/net/http/server.go:3160");
        assert_eq!(cut_path(path, 20), "…/server.go:3160");
        assert_eq!(cut_path(path, 10), "ser…o:3160");
    }

    #[test]
    fn nothing_that_is_cut_is_wider_than_asked() {
        for text in ["/a/b/c.go:1", "日本語/日本語/日本語.go:12", "nopath", "/", "////", "", "a/"]
        {
            for width in 0..12 {
                for cut in [cut(text, width), cut_middle(text, width), cut_path(text, width)] {
                    assert!(columns(&cut) <= width, "{text} {width} {cut}");
                }
            }
        }
    }

    #[test]
    fn a_line_ends_at_the_edge_of_a_terminal_and_nowhere_in_a_pipe() {
        let long = "x".repeat(100);
        let line = Line::new().add(Tint::Plain, "abc ").add(Tint::Name, &long);
        let cut = written(Some(50), Color::Plain, |p| p.line(&line));
        assert_eq!(columns(cut.trim_end()), 50);
        let whole = written(None, Color::Plain, |p| p.line(&line));
        assert_eq!(whole, format!("abc {long}\n"));
    }

    #[test]
    fn colours_are_closed_before_the_line_ends() {
        let line = Line::new().add(Tint::Bad, "no").add(Tint::Plain, "  ");
        let shown = written(Some(80), Color::Ansi, |p| p.line(&line));
        assert_eq!(shown, "\u{1b}[1m\u{1b}[31mno\u{1b}[0m\n");
    }

    #[test]
    fn words_wrap_under_their_label() {
        let shown = written(Some(40), Color::Plain, |p| {
            p.field_words(
                "because",
                Tint::Plain,
                "the channel is full and nobody has received for a while",
            )
        });
        assert_eq!(
            shown,
            "  because    the channel is full and\n             nobody has received for a\n             while\n"
        );
    }

    #[test]
    fn text_from_the_target_is_cleaned_on_its_way_in() {
        let shown = written(None, Color::Plain, |p| p.words(0, Tint::Plain, "a\x1b[31m\nb"));
        assert_eq!(shown, "a\\u{1b}[31m\\nb\n");
    }
}
