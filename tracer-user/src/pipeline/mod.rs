//! Wires the parts: takes records and looks, feeds the model, carries out its Commands, tells the
//! sink. Here is all I/O: threads, clocks, signals, bounded channels, loss accounting, shutdown.
//! May use: everything but the command line and the outputs.

pub mod baseline;
pub mod budget;
mod check;
mod clock;
mod doctor;
mod dump;
mod flight;
mod host;
mod identity;
pub mod idle_list;
mod ingest;
mod judge;
mod looker;
mod losses;
mod open;
mod pace;
mod ps;
mod ready;
mod replay;
mod scrape;
mod send;
pub mod settings;
mod signals;
mod teller;
mod thread_waits;
mod tracer;
mod watch;
mod whereabouts;

pub use check::check;
pub use doctor::doctor;
pub use dump::dump;
pub use flight::freeze;
pub use ps::ps;
pub use replay::{
    Exported, Progress, diff, dump_recording, export, inputs, life, overview, report,
};
pub use scrape::{ListenSettings, MetricsSettings, PushSettings, TlsFiles, Told};
pub use send::{Endpoint, HttpReceiver, Outbox, SendSettings};
pub use watch::{diagnose, record, watch, watch_many};
pub use whereabouts::set_host_root;
