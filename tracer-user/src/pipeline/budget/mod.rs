//! The budget that a watch keeps: [`Policy`] decides which probes may be on, from what [`Meter`]
//! reads. The policy has no clock and does no I/O, so that its decisions can be tested and told.

mod calibration;
mod meter;
mod policy;
mod sampling;

pub use meter::{Meter, own_cpu_time};
pub use policy::{Account, Budget, Hits, Policy, Sample, Stay, Turn};
pub use sampling::Rhythm;

use crate::base::Nanos;

use calibration::Prior;

/// What a hit costs in all at so many a second, as it is reckoned with before anything was measured.
pub fn usual_cost(rate: f64) -> Nanos {
    Nanos((Prior::TARGET.cost_at(rate) + Prior::LOITER.cost_at(rate)) as u64)
}
