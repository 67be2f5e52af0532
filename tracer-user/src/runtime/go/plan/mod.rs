//! The probe plan of a Go program, made from its file alone.
//!
//! A probe must hit once for each birth, death, park, run and wake-up, and must not harm: so it stands
//! behind the stack check (the function starts anew after the stack grew), on an instruction that
//! the kernel emulates, where every path comes by, and where the goroutine is known to be.
//! [`crate::object::disasm`] finds that instruction; here is which functions to look at, and what is
//! not seen if one is missing or was inlined.
//!
//! Where the g is at the entry: these functions take it as their first argument, in rax
//! (ABIInternal, src/cmd/compile/abi-internal.md; since 1.17). `park_m` and `goexit0` are called by `mcall`,
//! which is assembly and puts g into rax itself (src/runtime/asm_amd64.s, `mcall`, "AX (and arg 0)
//! = g"); read for 1.19 and 1.21 to 1.27. `newproc1` returns the new g in rax and never nil.

mod births;
mod code;
#[doc(hidden)]
pub mod comparison;
mod tables;

use crate::object::ByteSource;
use crate::object::disasm::{self, DisasmError, Found, Listing, Place, Register};
use crate::object::elf::{ElfError, Image};
use crate::object::pclntab::{Func, FuncId, InlinedCopy, ReadTableError, Table};
use crate::runtime::plan::{Degradation, Location, ProbePlan, Site, SiteKind};

use super::layout::Layout;
use code::Code;

pub use tables::linked_table;

/// Why there is no plan: nothing may be probed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PlanError {
    /// The function table cannot be read.
    #[error("{0}")]
    Table(#[from] ReadTableError),
    /// The file cannot be read.
    #[error("the Go program's file cannot be read: {0}")]
    Elf(#[from] ElfError),
    /// There is no function table.
    #[error(
        "no Go function table (pclntab) in the file: it is not a Go program, or was packed or \
         altered; trace the unpacked program"
    )]
    NoTable,
    /// No module belongs to the function table.
    #[error(
        "no moduledata that belongs to the function table: the file was altered, or is not of the \
         Go version it states"
    )]
    NoModule,
    /// None of the functions is there.
    #[error("none of the Go scheduler's functions is in the function table: nothing can be probed")]
    NoRuntime,
    /// Several functions have the name of one.
    #[error(
        "{count} functions are called {name}: which one is the runtime's cannot be told, so none is probed"
    )]
    Ambiguous {
        /// The name.
        name: &'static str,
        /// How many.
        count: usize,
    },
    /// A function does not lie in code.
    #[error(
        "{name} at {address:#x} does not lie in the file's code: the function table does not belong \
         to this code, so nothing is probed"
    )]
    NotInCode {
        /// The function.
        name: Box<str>,
        /// Where the table says it is.
        address: u64,
    },
    /// A function is not what a compiler makes.
    #[error(
        "{name} at {address:#x} cannot be disassembled ({why}): the function table does not belong \
         to this code, or the code was altered, so nothing is probed"
    )]
    NotUnderstood {
        /// The function.
        name: Box<str>,
        /// Where it is.
        address: u64,
        /// What is wrong with it.
        why: DisasmError,
    },
    /// More calls than any runtime has.
    #[error(
        "more than {0} calls of runtime.newproc1: the function table does not belong to this code"
    )]
    TooManyCalls(usize),
    /// Two probes on one instruction.
    #[error(
        "two functions begin at the same place ({0:#x}): the function table is damaged, so nothing is probed"
    )]
    SameInstruction(u64),
}

/// A Go program's file.
pub struct GoProgram<'a, S: ByteSource + ?Sized> {
    /// Its headers.
    pub image: &'a Image,
    /// Its bytes.
    pub source: &'a S,
    /// Its function table with inline trees, placed where the code was linked to: as
    /// [`linked_table`] gives it.
    pub table: &'a Table,
    /// What is known of its Go version.
    pub layout: &'static Layout,
}

const NEWPROC1: &str = "runtime.newproc1";
const GDESTROY: &str = "runtime.gdestroy";
const GOEXIT0: &str = "runtime.goexit0";
const PARK_M: &str = "runtime.park_m";
const EXECUTE: &str = "runtime.execute";
const READY: &str = "runtime.ready";
const NAMES: [&str; 6] = [NEWPROC1, GDESTROY, GOEXIT0, PARK_M, EXECUTE, READY];

/// `gdestroy` was made of `goexit0` in this version, for coroutines: they end without `goexit0`.
const GDESTROY_SINCE: u16 = 22;

/// Makes the plan for a Go program.
///
/// # Errors
/// If the functions are not what a Go compiler makes: then nothing may be probed. A function that
/// is only missing, or has no place for a probe, leaves the plan degraded.
pub fn plan<S: ByteSource + ?Sized>(program: &GoProgram<'_, S>) -> Result<ProbePlan, PlanError> {
    Planner::new(program)?.plan()
}

struct Planner<'a, S: ?Sized> {
    code: Code<'a, S>,
    table: &'a Table,
    layout: &'static Layout,
    functions: [Option<Func<'a>>; NAMES.len()],
    copies: Vec<InlinedCopy<'a>>,
    plan: ProbePlan,
}

impl<'a, S: ByteSource + ?Sized> Planner<'a, S> {
    fn new(program: &GoProgram<'a, S>) -> Result<Self, PlanError> {
        let wrapper = FuncId(program.layout.func_ids.wrapper);
        let mut functions = [None; NAMES.len()];
        let named = program.table.named(&NAMES);
        for ((slot, found), name) in functions.iter_mut().zip(named).zip(NAMES) {
            *slot = the_one(found, wrapper, name)?;
        }
        if functions.iter().all(Option::is_none) {
            return Err(PlanError::NoRuntime);
        }
        Ok(Self {
            code: Code { image: program.image, source: program.source },
            table: program.table,
            layout: program.layout,
            functions,
            copies: program.table.inlined_copies(&NAMES),
            plan: ProbePlan::default(),
        })
    }

    fn plan(mut self) -> Result<ProbePlan, PlanError> {
        self.births()?;
        self.deaths()?;
        self.at_entry(SiteKind::Park, PARK_M)?;
        self.at_entry(SiteKind::Run, EXECUTE)?;
        self.at_entry(SiteKind::Ready, READY)?;
        self.plan.sites.sort_by_key(|site| (site.kind, site.address));
        self.plan.degraded.sort_by_key(|gap| gap.kind);
        let mut places: Vec<u64> = self.plan.sites.iter().map(|site| site.file_offset).collect();
        places.sort_unstable();
        match places.windows(2).find(|pair| pair.first() == pair.last()) {
            Some(pair) => Err(PlanError::SameInstruction(pair.first().copied().unwrap_or(0))),
            None => Ok(self.plan),
        }
    }

    /// Since 1.22 every goroutine ends in `gdestroy`, coroutines by way of `coroswitch_m`, all others by
    /// way of `goexit0`, where a profile may have inlined it.
    fn deaths(&mut self) -> Result<(), PlanError> {
        if self.layout.minor < GDESTROY_SINCE {
            return self.at_entry(SiteKind::Death, GOEXIT0);
        }
        let goexit0 = self.function(GOEXIT0);
        let within = |copy: &InlinedCopy<'_>| {
            NAMES.get(copy.name) == Some(&GDESTROY) && Some(copy.into) == goexit0
        };
        let inlined = self.copies.iter().any(within);
        if let (true, Some(goexit0)) = (inlined, goexit0)
            && !self.calls(goexit0, self.function(GDESTROY))?
        {
            self.copies.retain(|copy| !within(copy));
            self.probe(SiteKind::Death, goexit0)?;
            if self.function(GDESTROY).is_none() {
                // Every copy that remains is told of.
                self.tell_copies(SiteKind::Death, GDESTROY);
                return Ok(());
            }
        }
        self.at_entry(SiteKind::Death, GDESTROY)
    }

    /// Whether a function calls another, as far as its relative calls tell.
    fn calls(&self, caller: Func<'a>, callee: Option<Func<'a>>) -> Result<bool, PlanError> {
        let Some(callee) = callee else { return Ok(false) };
        let bytes = self.code.function(&caller)?;
        let listing = self.code.listing(&caller, &bytes)?;
        Ok(listing.boundaries().any(|at| listing.target_at(at) == Some(callee.entry())))
    }

    /// Plans a probe on a function that has the goroutine as its argument.
    fn at_entry(&mut self, kind: SiteKind, name: &'static str) -> Result<(), PlanError> {
        match self.function(name) {
            Some(function) => self.probe(kind, function)?,
            None => self.degrade(kind, format!("the program has no function {name}")),
        }
        self.tell_copies(kind, name);
        Ok(())
    }

    fn probe(&mut self, kind: SiteKind, function: Func<'a>) -> Result<(), PlanError> {
        let bytes = self.code.function(&function)?;
        let listing = self.code.listing(&function, &bytes)?;
        match disasm::after_entry(&listing, Register::Rax) {
            Ok(found) => {
                let behind = if found.behind_stack_check {
                    "behind the stack check"
                } else {
                    "behind the entry"
                };
                let why = format!("first emulated instruction {behind}; {}", holds(found.place));
                self.add(kind, &function, &listing, &found, why)
            }
            Err(why) => {
                let name = shown(&function);
                self.degrade(kind, format!("{name} has no place for a safe probe: {why}"));
                Ok(())
            }
        }
    }

    fn add(
        &mut self,
        kind: SiteKind,
        function: &Func<'a>,
        listing: &Listing<'_>,
        found: &Found,
        why: String,
    ) -> Result<(), PlanError> {
        let bytes = listing.bytes(found.address);
        let file_offset = self.code.file_offset(function, found.address, bytes.len())?;
        self.plan.sites.push(Site {
            kind,
            function: shown(function).into(),
            address: found.address,
            file_offset,
            instruction: found.instruction,
            bytes: bytes.into(),
            text: self.text(listing, found.address).into(),
            location: match found.place {
                Place::Register(register) => Location::Register(register),
                Place::Stack { words } => Location::Stack { words },
            },
            why: why.into(),
        });
        Ok(())
    }

    /// The instruction, with the name of the function that it calls.
    fn text(&self, listing: &Listing<'_>, address: u64) -> String {
        let text = listing.text(address);
        let called = listing.call_at(address).and_then(|target| self.table.find(target));
        match called {
            Some(function) => format!("{text} <{}>", shown(&function)),
            None => text,
        }
    }

    fn function(&self, name: &str) -> Option<Func<'a>> {
        let index = NAMES.iter().position(|n| *n == name)?;
        self.functions.get(index).copied().flatten()
    }

    fn degrade(&mut self, kind: SiteKind, reason: String) {
        self.plan.degraded.push(Degradation { kind, reason: reason.into() });
    }

    /// Tells of copies of a function within others, where a probe on the function does not see
    /// what happens.
    fn tell_copies(&mut self, kind: SiteKind, name: &str) {
        let of_name = |copy: &&InlinedCopy<'_>| NAMES.get(copy.name) == Some(&name);
        let (mut count, mut functions, mut named) = (0usize, 0usize, Vec::new());
        for copy in self.copies.iter().filter(of_name) {
            count = count.saturating_add(copy.copies);
            functions = functions.saturating_add(1);
            if named.len() < MOST_NAMED {
                named.push(shown(&copy.into));
            }
        }
        if count == 0 {
            return;
        }
        let mut holders = named.join(", ");
        if functions > named.len() {
            holders.push_str(&format!(" and {} more", functions.saturating_sub(named.len())));
        }
        let places = if count == 1 { "place" } else { "places" };
        self.degrade(
            kind,
            format!("{name} is inlined at {count} {places}, in {holders}: what happens there is not seen"),
        );
    }
}

/// Functions named in one degradation at most.
const MOST_NAMED: usize = 8;

fn holds(place: Place) -> String {
    match place {
        Place::Register(Register::Rax) => "rax still holds the goroutine".to_owned(),
        Place::Register(register) => {
            format!("{} holds the goroutine", Location::Register(register))
        }
        Place::Stack { words } => {
            format!("no register holds the goroutine any more, {} does", Location::Stack { words })
        }
    }
}

/// Longest function name that is shown.
const MOST_NAME: usize = 256;

/// A function's name, fit for a terminal: the table is the target's.
fn shown(function: &Func<'_>) -> String {
    function.name().chars().filter(|c| !c.is_control()).take(MOST_NAME).collect()
}

/// The function of that name which is the runtime's own. A wrapper for the other calling convention has
/// the same name and only calls it.
fn the_one<'t>(
    mut found: Vec<Func<'t>>,
    wrapper: FuncId,
    name: &'static str,
) -> Result<Option<Func<'t>>, PlanError> {
    found.retain(|function| function.id() != wrapper && !function.is_assembly());
    match found[..] {
        [] => Ok(None),
        [function] => Ok(Some(function)),
        _ => Err(PlanError::Ambiguous { name, count: found.len() }),
    }
}
