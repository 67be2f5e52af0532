//! A thread's registers, as far as walking its stack needs them. Plain data, so that who reads them
//! and who uses them need not know each other.

/// Registers as they were when the thread left user mode.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Registers {
    /// Program counter.
    pub pc: u64,
    /// Stack pointer.
    pub sp: u64,
    /// rbp.
    pub bp: u64,
    /// rbx.
    pub bx: u64,
    /// r12 to r15.
    pub r12_to_r15: [u64; 4],
}
