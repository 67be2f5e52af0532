//! What has become of a finding since it was last told. May use: nothing of ours.

/// What has become of a finding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// It is new.
    Opened,
    /// It has changed.
    Updated,
    /// It is over.
    Resolved,
}

impl Change {
    /// The word used in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Change::Opened => "opened",
            Change::Updated => "updated",
            Change::Resolved => "resolved",
        }
    }
}
