//! What `cargo xtask dist` makes: packages that hold what they should, the same bytes each time, and a static binary that
//! needs nothing beside itself. Here with unoptimised code; `cargo xtask dist --check` runs the same against what is
//! shipped (`LOITER_DIST` names its directory).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;

mod chroot;
mod commit;
mod contents;
mod debian;
mod made;
