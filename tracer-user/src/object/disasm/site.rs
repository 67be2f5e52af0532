//! The choice of the instruction to probe: the first that the kernel emulates on the straight
//! line from a function's entry, or from the return of a call, where the value is known.

use iced_x86::FlowControl;

use super::Emulated;
use super::follow::{Follower, Place, Register};
use super::listing::Listing;
use super::stack_check::{OddStart, StackCheck, stack_check};

/// An instruction to probe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Found {
    /// Its address.
    pub address: u64,
    /// What it is.
    pub instruction: Emulated,
    /// Where the value is before it runs.
    pub place: Place,
    /// Whether there was a stack check before it.
    pub behind_stack_check: bool,
}

/// Why there is no instruction to probe.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoSite {
    /// The start of the function is not understood.
    #[error("{0}")]
    Start(#[from] OddStart),
    /// The function jumps to where only a register or memory tells.
    #[error("the jump at {0:#x} leads to where only its operand tells")]
    Indirect(u64),
    /// No relative call begins there.
    #[error("no call begins at {0:#x}")]
    NoCall(u64),
    /// A jump leads into the straight line.
    #[error("the jump at {from:#x} leads to {to:#x}, before any suitable instruction")]
    JumpInto {
        /// The jump.
        from: u64,
        /// Where it leads.
        to: u64,
    },
    /// Something overwrote the value, or put it where probes cannot read it.
    #[error("the value is no longer known at {0:#x}, before any suitable instruction")]
    Lost(u64),
    /// The straight line ends.
    #[error("the path divides or ends at {0:#x}, before any suitable instruction")]
    Leaves(u64),
}

/// The first suitable instruction behind the entry and, if there is one, behind the stack check.
/// `argument` holds the value at the entry.
///
/// # Errors
/// If there is none, or the function is not understood.
pub fn after_entry(listing: &Listing<'_>, argument: Register) -> Result<Found, NoSite> {
    refuse_indirect(listing)?;
    let (from, behind_stack_check) = match stack_check(listing)? {
        StackCheck::Before(body) => (body, true),
        StackCheck::Absent => (0, false),
    };
    // The check compares and computes r12: no argument is in either.
    let found = walk(listing, from, Follower::new(argument))?;
    Ok(Found { behind_stack_check, ..found })
}

/// The first suitable instruction behind the return of the call that begins at `call`.
/// `result` holds the value then.
///
/// # Errors
/// If there is none, or the function is not understood.
pub fn after_call(listing: &Listing<'_>, call: u64, result: Register) -> Result<Found, NoSite> {
    refuse_indirect(listing)?;
    let index = listing.index_of(call).filter(|_| listing.call_at(call).is_some());
    let index = index.ok_or(NoSite::NoCall(call))?;
    walk(listing, index + 1, Follower::new(result))
}

/// A jump table could lead anywhere in the function, so also into the straight line.
fn refuse_indirect(listing: &Listing<'_>) -> Result<(), NoSite> {
    match listing.indirect_jump() {
        Some(at) => Err(NoSite::Indirect(at)),
        None => Ok(()),
    }
}

fn walk(listing: &Listing<'_>, from: usize, mut value: Follower) -> Result<Found, NoSite> {
    let mut index = from;
    while let Some(step) = listing.step(index) {
        // The stack check has answered for jumps to the entry.
        if let Some(jump) = listing.jumps_to(index).first().filter(|_| index > 0) {
            return Err(NoSite::JumpInto { from: listing.address(jump.from), to: step.ip() });
        }
        if let (Some(instruction), Some(place), 1..) =
            (listing.emulated(index), value.place(), index)
        {
            return Ok(Found { address: step.ip(), instruction, place, behind_stack_check: false });
        }
        if step.flow_control() != FlowControl::Next {
            return Err(NoSite::Leaves(step.ip()));
        }
        value.step(step);
        if !value.is_known() {
            return Err(NoSite::Lost(step.next_ip()));
        }
        index += 1;
    }
    Err(NoSite::Leaves(listing.end()))
}
