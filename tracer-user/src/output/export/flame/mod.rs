//! A flame graph as one SVG: drawn as it stands wherever SVG is shown, and in a browser it zooms and searches by
//! a script of its own, with nothing fetched. Outermost functions on top, as in the page of HTML.
//! May use: view, output's helpers, output::export::{folded, html::escape}.

mod tree;

use std::fmt::Write as _;
use std::io::{self, Write};

use self::tree::{Frame, Tree, tree};
use super::folded::{Weight, fold};
use super::html::escape::Escaped;
use crate::output::text::process::noun;
use crate::output::text::words::{count, counted};
use crate::view::{DumpView, TaskView};

const STYLE: &str = include_str!("flame.css");
const SCRIPT: &str = include_str!("flame.js");

/// Width of the picture where no script fits it to the window, in pixels.
const WIDTH: f64 = 1200.0;
/// Left and right of the frames.
const MARGIN: f64 = 12.0;
/// Above the first frame: title, subtitle, and the line that explains a frame.
const HEAD: usize = 74;
/// From one row of frames to the next.
const ROW: usize = 18;
/// Below the last frame, with what was left out.
const FOOT: usize = 34;
/// Width of a character of the font; what fits is reckoned anew by the script.
const CHARACTER: f64 = 7.25;
/// Frames thinner than this are not drawn in the still picture.
const THINNEST: f64 = 0.2;

/// Writes one. Without tasks it is one that says so.
///
/// # Errors
/// The writer's.
pub fn write_flame_graph(
    out: &mut dyn Write,
    dump: &DumpView,
    tasks: &[&TaskView],
    weight: Weight,
) -> io::Result<()> {
    let stacks = fold(tasks, weight);
    let tree = tree(&stacks);
    let noun = noun(&dump.process);
    let title = match weight {
        Weight::Tasks => format!("All {noun}s"),
        Weight::Wait => format!("Time that {noun}s have waited"),
    };
    let graph = Graph { tree: &tree, weight, noun };
    let height = HEAD + tree.depth * ROW + FOOT;
    let mut page = String::new();
    let _infallible = write!(
        page,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"monospace\" font-size=\"12\">\n<title>{title}</title>\n<style>{STYLE}</style>\n\
         <rect class=\"ground\" width=\"100%\" height=\"100%\" fill=\"#fbfbfa\"/>\n\
         <text class=\"title\" x=\"{MARGIN}\" y=\"25\" font-size=\"17\" font-weight=\"600\">{title}</text>\n\
         <text class=\"faint\" x=\"{MARGIN}\" y=\"44\" fill=\"#5d646b\">{} (PID {})</text>\n\
         <text id=\"told\" x=\"{MARGIN}\" y=\"65\"></text>\n<g id=\"frames\">\n",
        Escaped(&dump.process.exe),
        dump.process.pid,
    );
    out.write_all(page.as_bytes())?;
    if tree.frames.is_empty() {
        let y = HEAD + 13;
        writeln!(out, "<text x=\"{MARGIN}\" y=\"{y}\">(nothing to show)</text>")?;
    }
    for frame in &tree.frames {
        out.write_all(graph.frame(frame).as_bytes())?;
    }
    let foot = tree.left_out.map(|words| format!("left out: {words}")).unwrap_or_default();
    let y = height - 12;
    writeln!(
        out,
        "</g>\n<text class=\"faint\" x=\"{MARGIN}\" y=\"{y}\" fill=\"#5d646b\">{foot}</text>\n\
         <script><![CDATA[\n{SCRIPT}]]></script>\n</svg>"
    )
}

/// What the frames are frames of.
struct Graph<'a> {
    tree: &'a Tree<'a>,
    weight: Weight,
    noun: &'a str,
}

impl Graph<'_> {
    /// A group that has its place for the script, its words for a pointer that rests on it, its box and its name.
    fn frame(&self, frame: &Frame<'_>) -> String {
        let scale = (WIDTH - 2.0 * MARGIN) / self.tree.total.max(1) as f64;
        let (x, width) = (MARGIN + frame.start as f64 * scale, frame.weight as f64 * scale);
        let y = HEAD + frame.depth * ROW;
        let shown = if width < THINNEST { " display=\"none\"" } else { "" };
        let name = Escaped(frame.name);
        let mut out = String::new();
        let _infallible = write!(
            out,
            "<g data-at=\"{} {} {}\"{shown}><title>{name}\n{}</title><rect x=\"{x:.1}\" y=\"{y}\" width=\"{:.1}\" height=\"{}\" \
             rx=\"2\" fill=\"{}\"/><text x=\"{:.1}\" y=\"{}\">",
            frame.start,
            frame.weight,
            frame.depth,
            self.words(frame),
            (width - 0.6).max(THINNEST),
            ROW - 1,
            colour(frame.name),
            x + 4.0,
            y + 13,
        );
        let _infallible = writeln!(out, "{}</text></g>", Escaped(&fitting(frame.name, width)));
        out
    }

    /// `38 goroutines, 92.7 %`
    fn words(&self, frame: &Frame<'_>) -> String {
        let share = frame.weight as f64 * 100.0 / self.tree.total.max(1) as f64;
        match self.weight {
            Weight::Tasks => format!("{}, {share:.1} %", counted(frame.weight, self.noun)),
            Weight::Wait => {
                let ms = frame.weight / 1_000_000;
                let (seconds, rest) = (count(ms / 1000), ms % 1000);
                format!("{seconds}.{rest:03} s waited, {share:.1} %")
            }
        }
    }
}

/// As much of a name as a box has room for.
fn fitting(name: &str, width: f64) -> String {
    let room = ((width - 8.0) / CHARACTER).max(0.0) as usize;
    if name.chars().count() <= room {
        return name.to_owned();
    }
    if room < 3 {
        return String::new();
    }
    name.chars().take(room - 1).chain(['…']).collect()
}

/// What waits is blue, by the custom of off-CPU flame graphs, what it waits for is not; a name has its shade in
/// every graph.
fn colour(name: &str) -> String {
    let hash = name.bytes().fold(7u32, |sum, byte| (sum * 31 + u32::from(byte)) % 997);
    let part = f64::from(hash) / 997.0;
    let between = |from: f64, to: f64| (from + (to - from) * part).round() as u8;
    let [red, green, blue] = if name.starts_with('[') {
        [between(250.0, 244.0), between(206.0, 190.0), between(160.0, 132.0)]
    } else {
        [between(132.0, 196.0), between(184.0, 220.0), between(218.0, 243.0)]
    };
    format!("#{red:02x}{green:02x}{blue:02x}")
}

#[cfg(test)]
mod tests {
    use super::{colour, fitting};

    #[test]
    fn a_name_is_cut_to_its_box_and_not_within_a_character() {
        assert_eq!(fitting("main.run", 100.0), "main.run");
        assert_eq!(fitting("größenänderung", 60.0), "größen…");
        assert_eq!(fitting("main.run", 12.0), "");
        assert_eq!(fitting("main.run", 0.0), "");
    }

    #[test]
    fn a_name_has_one_shade_and_waits_have_others() {
        assert_eq!(colour("main.run"), colour("main.run"));
        assert_ne!(colour("main.run"), colour("main.stop"));
        let blue = |name| u8::from_str_radix(&colour(name)[5..], 16).unwrap();
        assert!(blue("[select]") < blue("select"));
    }
}
