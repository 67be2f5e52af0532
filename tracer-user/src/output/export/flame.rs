//! A flame graph as SVG, which zooms and searches in any browser. May use: inferno, output::export::folded.

use std::io::{self, Write};

use inferno::flamegraph::color::{BasicPalette, Palette};
use inferno::flamegraph::{Options, from_lines};

use super::folded::{Weight, fold};
use crate::output::clean::clean;
use crate::output::text::process::noun;
use crate::view::{DumpView, TaskView};

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
    let lines: Vec<String> =
        fold(tasks, weight).iter().map(|(stack, weight)| format!("{stack} {weight}")).collect();
    let nothing = ["(nothing to show) 1"];
    let process = &dump.process;
    let mut options = Options::default();
    let noun = noun(process);
    (options.title, options.count_name) = match weight {
        Weight::Tasks => (format!("All {noun}s"), format!("{noun}s")),
        Weight::Wait => (format!("Time that {noun}s have waited"), "ns waited".to_owned()),
    };
    options.subtitle = Some(format!("{} (PID {})", clean(&process.exe), process.pid));
    // What waits is blue, by the custom of off-CPU flame graphs; a name has its shade in every graph.
    options.colors = Palette::Basic(BasicPalette::Blue);
    options.deterministic = true;
    if lines.is_empty() {
        from_lines(&mut options, nothing, out)
    } else {
        from_lines(&mut options, lines.iter().map(String::as_str), out)
    }
}
