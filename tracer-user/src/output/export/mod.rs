//! Recordings and moments in the forms of other tools: pprof, Perfetto, folded stacks and flame graphs,
//! JSON lines, and one page of HTML. What the target named is data in each of them, never markup.
//! May use: view, base, stream, output's helpers.

mod flame;
mod folded;
pub mod html;
mod jsonl;
mod perfetto;
mod pprof;

pub use flame::write_flame_graph;
pub use folded::{Weight, write_folded};
pub use jsonl::InputLines;
pub use perfetto::PerfettoSink;
pub use pprof::write_pprof;
