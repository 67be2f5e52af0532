//! The kernel layer on the real kernel: real probes on real Go programs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;
#[path = "kernel/hand_plan.rs"]
mod hand_plan;
#[path = "kernel/support.rs"]
mod support;

use std::time::{Duration, Instant};

use common::{Variant, go_build, or_skip};
use loiter::kernel::{AttachMethod, Kinds, LoadSettings};
use support::{Tally, Tracer};

const GO: &str = "1.27.3";

#[test]
fn every_birth_and_death_of_a_known_number_of_goroutines_is_told() {
    let _alone = support::alone();
    or_skip!(common::need_bpf());
    let binary = or_skip!(go_build(GO, "million", Variant::Default));
    for method in [AttachMethod::Multi, AttachMethod::PerfEvent] {
        let settings = LoadSettings { attach_method: method, ..LoadSettings::default() };
        let (mut process, _) = common::GoProc::start_ready(&binary, &["-n", "20000"]);
        let mut tracer = Tracer::load(&settings);
        let attached = tracer.attach(&process, &binary, Kinds::LIFECYCLE);
        let mut tally = Tally::default();
        process.tell("run");
        tracer.drain_until(&mut tally, |tally| tally.ended_at_one_site() == 20_000);
        process.wait_for("done");
        let detached = tracer.kernel.detach(attached.slot).unwrap();
        tracer.drain(&mut tally);
        println!("{method:?}: attached in {:?}, detached in {:?}", attached.took, detached.took);
        assert_eq!(tally.born_at_one_site(), 20_000);
        let counters = detached.counters;
        assert_eq!(counters.hits[0] + counters.hits[1], tally.records);
        assert_eq!(counters.lost_ring_full + counters.lost_user_read, 0);
        assert_eq!(tracer.kernel.diagnostics(), 0);
        process.finish();
    }
}
