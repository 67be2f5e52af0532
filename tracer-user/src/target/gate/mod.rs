//! A gate at the end of a program: it is started behind a seccomp filter that tells of every
//! `exit_group`, and is held at the entry of that call until it is let go. Its other threads run on
//! meanwhile, and no other system call is touched.
//!
//! The filter is inherited by whatever the program starts, and outlives loiter: without a listener
//! the kernel fails each `exit_group` with ENOSYS: Go programs then crash, and spin for ever, since the
//! crash cannot end them either. So a
//! guardian process keeps the listener and lets everything go once loiter is no more, and the
//! program itself is killed with loiter.
//!
//! All the `unsafe` this needs is in here. May use: base, target.

mod filter;
mod guardian;
mod launch;
mod listener;
mod signals;

pub use guardian::Guardian;
pub use launch::{LaunchError, Launched, launch};
pub use listener::{Ending, Listener};
pub use signals::{Signalled, Signals, end_by};
