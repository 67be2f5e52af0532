//! The budget that a watch keeps: [`Policy`] decides which probes may be on, from what [`Meter`]
//! reads. The policy has no clock and does no I/O, so that its decisions can be tested and told.

mod calibration;
mod meter;
mod policy;
mod sampling;

pub use meter::{Meter, own_cpu_time};
pub use policy::{Account, Budget, Hits, Policy, Sample, Stay, Turn};
pub use sampling::Rhythm;
