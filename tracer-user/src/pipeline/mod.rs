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

use crate::view::doctor::DoctorView;
use crate::view::ps::PsView;
use crate::view::watch::WatchSink;
use crate::view::{DumpView, SummaryView};

/// Placeholder until the pipeline is merged.
pub fn ps(_: &settings::PsSettings) -> anyhow::Result<PsView> {
    anyhow::bail!("not in this build")
}
/// Placeholder until the pipeline is merged.
pub fn dump(_: &settings::DumpSettings) -> anyhow::Result<DumpView> {
    anyhow::bail!("not in this build")
}
/// Placeholder until the pipeline is merged.
pub fn watch(_: &settings::WatchSettings, _: &mut dyn WatchSink) -> anyhow::Result<SummaryView> {
    anyhow::bail!("not in this build")
}
/// Placeholder until the pipeline is merged.
pub fn diagnose(
    _: &settings::DiagnoseSettings,
    _: &mut dyn WatchSink,
) -> anyhow::Result<SummaryView> {
    anyhow::bail!("not in this build")
}
/// Placeholder until the pipeline is merged.
pub fn doctor(_: &settings::DoctorSettings) -> anyhow::Result<DoctorView> {
    anyhow::bail!("not in this build")
}
