//! Findings that somebody has acknowledged: known, owned, and silent until a day. May use: base.

use std::collections::BTreeMap;

use super::WallTime;

/// Who has acknowledged a finding, and until when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Acknowledgement {
    /// The finding's id.
    pub id: String,
    /// Who answers for it.
    pub owner: String,
    /// The last day on which it is silent, as `2027-01-31`.
    pub until: String,
    /// The end of that day, UTC.
    pub ends: WallTime,
    /// Why, in the owner's words; may be empty.
    pub note: String,
}

/// How an acknowledgement stands at a moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It holds: the finding is no news.
    Holds,
    /// Its day has passed: the finding is told again.
    Expired,
}

impl Acknowledgement {
    /// How it stands at `now`.
    pub fn standing(&self, now: WallTime) -> Standing {
        if now < self.ends { Standing::Holds } else { Standing::Expired }
    }
}

/// All that is acknowledged, by the findings' ids.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Acknowledgements(BTreeMap<String, Acknowledgement>);

impl Acknowledgements {
    /// That of a finding.
    pub fn of(&self, finding: &str) -> Option<&Acknowledgement> {
        self.0.get(finding)
    }

    /// That of a finding, if it holds at `now`.
    pub fn in_force(&self, finding: &str, now: WallTime) -> Option<&Acknowledgement> {
        self.of(finding).filter(|a| a.standing(now) == Standing::Holds)
    }

    /// Adds one. False if the finding has one already: then that stays.
    pub fn add(&mut self, acknowledgement: Acknowledgement) -> bool {
        let id = acknowledgement.id.clone();
        let fresh = !self.0.contains_key(&id);
        self.0.entry(id).or_insert(acknowledgement);
        fresh
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
