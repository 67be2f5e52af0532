//! Beside other programs: PID namespaces, and a tracer that is killed.
