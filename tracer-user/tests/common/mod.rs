//! What the integration tests share: Go toolchains and the workloads built by them, processes
//! that are watched and never left behind, and tests that say why they cannot run.

#![allow(dead_code, unused_imports, unused_macros)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod busy;
pub mod cgroup;
pub mod confined;
pub mod generated;
pub mod go;
pub mod loiter;
pub mod native;
pub mod process;
pub mod readers;
pub mod skip;

pub use cgroup::{Cgroup, Controller};
pub use go::{NEWEST_GO, OLDEST_GO, Variant, go_build, matrix, real_program};
pub use process::{GoProc, copy_program};
pub use skip::{need_bpf, need_root, skipped};

/// The name of the test that uses the macro.
macro_rules! test_name {
    () => {{
        fn here() {}
        let name = std::any::type_name_of_val(&here);
        name.strip_suffix("::here").unwrap_or(name)
    }};
}
pub(crate) use test_name;

/// The value of an `Ok`; on an `Err(why)` the test says that it is skipped, why, and returns.
macro_rules! or_skip {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(why) => {
                $crate::common::skipped($crate::common::test_name!(), &why.to_string());
                return;
            }
        }
    };
}
pub(crate) use or_skip;
