//! Go's build information.
