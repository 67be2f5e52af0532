//! Wires the parts: takes records and looks, feeds the model, carries out its Commands, tells the
//! sink. Here is all I/O: threads, clocks, signals, bounded channels, loss accounting, shutdown.
//! May use: everything but the command line and the outputs.

mod clock;
mod ingest;
mod judge;
mod looker;
mod losses;
mod pace;
mod ready;
pub mod settings;
mod signals;
mod tracer;
