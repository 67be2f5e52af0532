//! From what the kernel says of the process to what the model is told.

use crate::stream::{Stop, Vitals};
use crate::target::{ProcessVitals, VitalsReader};

/// The vitals now; unknown where the process is gone, which the next read will say.
pub(in crate::runtime) fn of(reader: &VitalsReader) -> Vitals {
    reader.read().map(told).unwrap_or_default()
}

fn told(vitals: ProcessVitals) -> Vitals {
    let stopped = match vitals.state {
        'T' => Some(Stop::Signal),
        't' => Some(Stop::Tracer),
        _ if vitals.frozen => Some(Stop::Frozen),
        _ => None,
    };
    Vitals {
        stopped,
        cpu: Some(vitals.cpu),
        throttled: vitals.throttled,
        queued: vitals.queued,
        scheduler: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Nanos;

    #[test]
    fn a_process_stands_still_if_a_signal_a_debugger_or_its_cgroup_stopped_it() {
        let of = |state, frozen| {
            told(ProcessVitals { state, cpu: Nanos(1), frozen, throttled: None, queued: None })
                .stopped
        };
        assert_eq!(of('T', false), Some(Stop::Signal));
        assert_eq!(of('t', false), Some(Stop::Tracer));
        assert_eq!(of('S', true), Some(Stop::Frozen));
        assert_eq!(of('S', false), None);
    }
}
