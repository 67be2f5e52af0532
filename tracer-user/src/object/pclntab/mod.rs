//! Go's function table: names, lines, stack depths and inlining for every code address. It is
//! in every Go binary, stripped or not, since the runtime itself needs it.
//!
//! Two layouts, told apart by the magic: f0ffffff (Go 1.18, 1.19) and f1ffffff (since 1.20).
//! Sources: src/runtime/symtab.go (`pcHeader`, `pcvalue`, `step`, `funcline1`, `funcdata`),
//! src/runtime/runtime2.go (`_func`), src/runtime/symtabinl.go (`inlinedCall`) and
//! src/cmd/link/internal/ld/pcln.go of Go 1.19 and 1.21 to 1.27.

mod func;
mod inline;
mod locate;
mod pcvalue;
mod table;

pub use func::{FileLine, Func, FuncId};
pub use inline::{InlinedCopy, Level, Levels};
pub use locate::{Location, ReadTableError, locate, scan};
pub use table::{Functions, Layout, PclntabError, Table};
