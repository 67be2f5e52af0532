//! Go code, named as the program's own `goroutine?debug=2` names it.
//!
//! Source: src/runtime/traceback.go of Go 1.19 and 1.21 to 1.27 (`traceback2`, `showfuncinfo`,
//! `elideWrapperCalling`, `isExportedRuntime`, `printFuncName`, `printcreatedby1`; in 1.19
//! `gentraceback`), read side by side. They differ in three places: since 1.23 an exported method
//! of an exported type of package runtime is shown as well; since 1.25 the goroutines that run
//! finalizers and cleanups show what they are; since 1.27 the type arguments of a generic method
//! are cut out on their own.

mod name;
mod rules;
mod symbolizer;

pub use name::printed_name;
pub use rules::Rules;
pub use symbolizer::GoSymbolizer;
