//! Births: behind the return of every call of `newproc1`, since the new goroutine is known only then,
//! and `newproc1` itself ends in a `ret`, which the kernel does not emulate.
//!
//! It is called by the closures of `newproc` (a `go` statement), `newcoro` (iter.Pull; since 1.22),
//! `synctestRun` (since 1.25) and `debugCallWrap`. All calls are found by their bytes and
//! then verified in the function that holds them.

use crate::object::ByteSource;
use crate::object::disasm::{self, Branch, Listing, Register};
use crate::object::pclntab::Func;
use crate::runtime::plan::SiteKind;

use super::{NEWPROC1, PlanError, Planner, holds, shown};

/// Places that look like a call of `newproc1` at most; runtimes have two to four.
const MAX_CALLS: usize = 64;

impl<'a, S: ByteSource + ?Sized> Planner<'a, S> {
    pub(super) fn births(&mut self) -> Result<(), PlanError> {
        match self.function(NEWPROC1) {
            Some(newproc1) => self.calls_of_newproc1(newproc1)?,
            None => {
                self.degrade(SiteKind::Birth, format!("the program has no function {NEWPROC1}"))
            }
        }
        self.tell_copies(SiteKind::Birth, NEWPROC1);
        Ok(())
    }

    fn calls_of_newproc1(&mut self, newproc1: Func<'a>) -> Result<(), PlanError> {
        // It must be what a compiler made, as every function that a probe relies on.
        let bytes = self.code.function(&newproc1)?;
        self.code.listing(&newproc1, &bytes)?;

        let text = (self.table.text(), self.table.end());
        let branches = self.code.branches_to(newproc1.entry(), text, MAX_CALLS)?;
        if branches.len() > MAX_CALLS {
            return Err(PlanError::TooManyCalls(MAX_CALLS));
        }
        let mut called = false;
        for branch in branches {
            called |= self.birth(&newproc1, branch)?;
        }
        if !called {
            self.degrade(SiteKind::Birth, format!("no call of {NEWPROC1} was found"));
        }
        Ok(())
    }

    /// Plans a probe behind one call; tells whether there is a call at all.
    fn birth(&mut self, newproc1: &Func<'a>, branch: Branch) -> Result<bool, PlanError> {
        let Some(caller) = self.table.find(branch.address()) else { return Ok(false) };
        let bytes = self.code.function(&caller)?;
        let name = shown(&caller);
        // The bytes may be part of something else, also of data within assembly.
        let listing = match Listing::decode(&bytes, caller.entry()) {
            Ok(listing) => listing,
            Err(why) => {
                self.degrade(
                    SiteKind::Birth,
                    format!("{name} may call {NEWPROC1} but cannot be disassembled: {why}"),
                );
                return Ok(false);
            }
        };
        if listing.target_at(branch.address()) != Some(newproc1.entry()) {
            return Ok(false);
        }
        match branch {
            // The only jump within it to its own entry starts anew after the stack grew.
            Branch::Jump(_) if caller == *newproc1 => return Ok(false),
            Branch::Jump(_) => self.degrade(
                SiteKind::Birth,
                format!("{name} leaves by a jump to {NEWPROC1}, so there is no return to probe"),
            ),
            Branch::Call(at) => match disasm::after_call(&listing, at, Register::Rax) {
                Ok(found) => {
                    let why = format!(
                        "first emulated instruction after {NEWPROC1} returned; {}",
                        holds(found.place)
                    );
                    self.add(SiteKind::Birth, &caller, &listing, &found, why)?;
                }
                Err(why) => self.degrade(
                    SiteKind::Birth,
                    format!(
                        "{name} has no place for a safe probe behind its call of {NEWPROC1}: {why}"
                    ),
                ),
            },
        }
        Ok(true)
    }
}
