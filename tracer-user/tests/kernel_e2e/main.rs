//! The kernel layer on the real kernel: real probes on real Go programs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod attaching;
#[path = "../common/mod.rs"]
mod common;
mod cost;
mod hand_plan;
mod host;
mod lives;
mod support;
mod waits;

use loiter::kernel::{AttachMethod, Kernel, LoadSettings, Method};

/// The version for which a plan is made by hand.
const GO: &str = "1.27.3";

/// The methods that this kernel has.
fn methods() -> Vec<AttachMethod> {
    let has_multi = Kernel::load(&by(AttachMethod::Auto)).unwrap().method() == Method::Multi;
    if has_multi {
        vec![AttachMethod::Multi, AttachMethod::PerfEvent]
    } else {
        common::skipped(
            "the tests by uprobe_multi",
            "this kernel has none, or one with a wrong filter",
        );
        vec![AttachMethod::PerfEvent]
    }
}

/// Settings for one method, with room for few parks.
fn by(attach_method: AttachMethod) -> LoadSettings {
    LoadSettings { attach_method, parked_capacity: 4096, ..LoadSettings::default() }
}
