//! docs/picture.svg: what a terminal shows of a run, with its colours. Written by the same test that compares it.

use std::fmt::Write as _;

use regex::Regex;

use crate::common::go::workspace;

/// Columns of the terminal.
pub const COLUMNS: &str = "110";
const CHARACTER: f64 = 7.83;
const ROW: usize = 19;
const LEFT: usize = 20;
const TOP: usize = 56;

/// Compares, or writes, the picture. What may differ is what may differ in a block.
pub fn check(shown: &str) {
    let path = workspace().join("docs/picture.svg");
    let new = drawn(shown);
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    if std::env::var_os("LOITER_BLESS").is_some() && words(&kept) != words(&new) {
        std::fs::write(&path, new).unwrap();
        return;
    }
    assert_eq!(
        words(&kept),
        words(&new),
        "docs/picture.svg is not what loiter prints; LOITER_BLESS=1 draws it"
    );
}

/// The text of a picture. Where lines are broken depends on how long their numbers are.
fn words(picture: &str) -> String {
    let rows = Regex::new("</text>").unwrap().replace_all(picture, " ");
    let text = Regex::new("<[^>]*>").unwrap().replace_all(&rows, "");
    let text: Vec<&str> = text.split_whitespace().collect();
    crate::blocks::masked(&text.join(" ")).join(" ")
}

/// What a colour or weight of the terminal is in the picture.
fn style(code: &str) -> Option<&'static str> {
    match code {
        "1" => Some("font-weight=\"bold\""),
        "2" => Some("fill=\"#8b949e\""),
        "31" => Some("fill=\"#ff7b72\""),
        "32" => Some("fill=\"#7ee787\""),
        "33" => Some("fill=\"#e3b341\""),
        "36" => Some("fill=\"#79c0ff\""),
        _ => None,
    }
}

fn drawn(shown: &str) -> String {
    let lines: Vec<&str> = shown.trim_end().lines().collect();
    let width = LEFT * 2 + (COLUMNS.parse::<f64>().unwrap() * CHARACTER) as usize;
    let height = TOP + lines.len() * ROW + 6;
    let mut picture = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace\" font-size=\"13\" fill=\"#e6edf3\">\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"#0d1117\"/>\n\
         <circle cx=\"22\" cy=\"20\" r=\"6\" fill=\"#ff5f57\"/><circle cx=\"42\" cy=\"20\" r=\"6\" fill=\"#febc2e\"/>\
         <circle cx=\"62\" cy=\"20\" r=\"6\" fill=\"#28c840\"/>\n"
    );
    for (row, line) in lines.iter().enumerate() {
        let y = TOP + row * ROW;
        writeln!(
            picture,
            "<text x=\"{LEFT}\" y=\"{y}\" xml:space=\"preserve\">{}</text>",
            spans(line)
        )
        .unwrap();
    }
    picture.push_str("</svg>\n");
    picture
}

/// A line with its escape sequences as spans.
fn spans(line: &str) -> String {
    let sequence = Regex::new("\x1b\\[([0-9;]*)m").unwrap();
    let (mut out, mut styles, mut at) = (String::new(), Vec::new(), 0);
    let mut push = |text: &str, styles: &[&str]| {
        let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        match (text.is_empty(), styles.is_empty()) {
            (true, _) => {}
            (_, true) => out.push_str(&text),
            _ => write!(out, "<tspan {}>{text}</tspan>", styles.join(" ")).unwrap(),
        }
    };
    for found in sequence.captures_iter(line) {
        let whole = found.get(0).unwrap();
        push(&line[at..whole.start()], &styles);
        at = whole.end();
        for code in found[1].split(';') {
            match style(code) {
                Some(style) => styles.push(style),
                None => styles.clear(),
            }
        }
    }
    push(&line[at..], &styles);
    out
}

#[test]
fn a_picture_has_the_text_and_the_colours_of_the_terminal() {
    let picture = drawn("\x1b[1m\x1b[33mCROWD\x1b[0m <12> goroutines\r\n  next");
    assert!(
        picture.contains("<tspan font-weight=\"bold\" fill=\"#e3b341\">CROWD</tspan> &lt;12&gt;")
    );
    assert_eq!(words(&picture), "CROWD &lt;#&gt; goroutines next");
}
