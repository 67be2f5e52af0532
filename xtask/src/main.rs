//! All automation of loiter.
fn main() {}
