//! What other tools do, for the benchmark that tells what our choice of instructions saves: probes at
//! function entries, where the kernel single-steps the stack check. Not for use on anything but our
//! own workloads, and not reachable from the command line.

use crate::object::ByteSource;
use crate::object::pclntab::Func;
use crate::runtime::plan::{Emulated, Location, ProbePlan, Register, Site, SiteKind};

use super::{EXECUTE, GDESTROY, GOEXIT0, GoProgram, NEWPROC1, PARK_M, PlanError, Planner, READY};

/// The functions of a plan, probed at their entries. `instruction` says `Push` although the kernel
/// steps over these: no plan can state such an instruction. Births have the running g in the place
/// of the new one, which is not known yet.
///
/// # Errors
/// As [`super::plan`], and if a function is missing.
pub fn entry_sites_for_comparison<S: ByteSource + ?Sized>(
    program: &GoProgram<'_, S>,
) -> Result<ProbePlan, PlanError> {
    let planner = Planner::new(program)?;
    let death = if planner.layout.minor < super::GDESTROY_SINCE { GOEXIT0 } else { GDESTROY };
    let mut plan = ProbePlan::default();
    for (kind, name, holder) in [
        (SiteKind::Birth, NEWPROC1, Register::R14),
        (SiteKind::Death, death, Register::Rax),
        (SiteKind::Park, PARK_M, Register::Rax),
        (SiteKind::Run, EXECUTE, Register::Rax),
        (SiteKind::Ready, READY, Register::Rax),
    ] {
        let function = planner.function(name).ok_or(PlanError::NoRuntime)?;
        plan.sites.push(planner.entry_site(kind, &function, holder)?);
    }
    Ok(plan)
}

impl<'a, S: ByteSource + ?Sized> Planner<'a, S> {
    fn entry_site(
        &self,
        kind: SiteKind,
        function: &Func<'a>,
        holder: Register,
    ) -> Result<Site, PlanError> {
        let code = self.code.function(function)?;
        let listing = self.code.listing(function, &code)?;
        let bytes = listing.bytes(function.entry());
        Ok(Site {
            kind,
            function: super::shown(function).into(),
            address: function.entry(),
            file_offset: self.code.file_offset(function, function.entry(), bytes.len())?,
            instruction: Emulated::Push,
            bytes: bytes.into(),
            text: listing.text(function.entry()).into(),
            location: Location::Register(holder),
            why: "the entry, single-stepped: for comparison only".into(),
        })
    }
}
