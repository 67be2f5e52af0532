//! Programs whose tables or code are not what a compiler makes: the plan says what it cannot
//! see, or is refused; a probe on a wrong instruction is never planned.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;
#[path = "plan/support.rs"]
mod support;

use std::path::Path;

use common::{Variant, go_build, or_skip};
use loiter::object::disasm::emulated;
use loiter::object::elf::Image;
use loiter::object::pclntab;
use loiter::runtime::go::layout::Layout;
use loiter::runtime::go::plan::{GoProgram, PlanError, linked_table, plan};
use loiter::runtime::plan::{ProbePlan, SiteKind};
use object::{Object as _, ObjectSymbol as _};
use support::Program;

const GO: &str = "1.27.3";

/// A program to be altered, and where its parts are in the file.
struct Victim {
    program: Program,
    /// The function table.
    table_at: usize,
    /// Offset of its list of names, and of its list of functions, from its start.
    names: usize,
    functions: usize,
}

impl Victim {
    fn open(path: &Path) -> Self {
        let program = Program::open(GO, path);
        let found = pclntab::locate(&program.image, &program.bytes).unwrap();
        let table_at = usize::try_from(program.image.file_offset(found.vaddr).unwrap()).unwrap();
        let word = |i: usize| {
            let at = table_at + 8 + 8 * i;
            let word = program.bytes[at..at + 8].try_into().unwrap();
            usize::try_from(u64::from_le_bytes(word)).unwrap()
        };
        let (names, functions) = (word(3), word(7));
        Self { program, table_at, names, functions }
    }

    fn u32_at(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.program.bytes[at..at + 4].try_into().unwrap())
    }

    fn set_u32(&mut self, at: usize, value: u32) {
        self.program.bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    /// The number by which the tables refer to a name.
    fn name(&self, name: &str) -> u32 {
        let start = self.table_at + self.names;
        let wanted = format!("\0{name}\0");
        let list = &self.program.bytes[start..self.table_at + self.functions];
        let at = list.windows(wanted.len()).position(|w| w == wanted.as_bytes()).unwrap();
        u32::try_from(at + 1).unwrap()
    }

    /// Gives a function another name.
    fn rename(&mut self, function: &str, name: &str) {
        let index = self.program.table.named(&[function])[0][0].index();
        let entry = self.table_at + self.functions + 8 * index;
        let record = self.table_at + self.functions + self.u32_at(entry + 4) as usize;
        let name = self.name(name);
        self.set_u32(record + 4, name);
    }

    fn function(&self, name: &str) -> (usize, usize) {
        let function = self.program.table.named(&[name])[0][0];
        let at = self.program.image.file_offset(function.entry()).unwrap();
        let size = function.end() - function.entry();
        (usize::try_from(at).unwrap(), usize::try_from(size).unwrap())
    }

    fn plan(&self) -> Result<ProbePlan, PlanError> {
        plan_of(&self.program.bytes)
    }
}

/// Plans from the bytes alone, as for a file that was never seen.
fn plan_of(bytes: &[u8]) -> Result<ProbePlan, PlanError> {
    let image = Image::parse(bytes)?;
    let layout = Layout::for_version(GO).unwrap();
    let table = linked_table(&image, bytes, layout)?;
    plan(&GoProgram { image: &image, source: bytes, table: &table, layout })
}

fn gaps(plan: &ProbePlan, kind: SiteKind) -> Vec<&str> {
    plan.degraded.iter().filter(|gap| gap.kind == kind).map(|gap| &*gap.reason).collect()
}

#[test]
fn a_function_that_is_missing_leaves_the_plan_degraded() {
    let path = or_skip!(go_build(GO, "million", Variant::Default));
    for (function, kind) in [
        ("runtime.newproc1", SiteKind::Birth),
        ("runtime.gdestroy", SiteKind::Death),
        ("runtime.park_m", SiteKind::Park),
        ("runtime.execute", SiteKind::Run),
        ("runtime.ready", SiteKind::Ready),
    ] {
        let mut victim = Victim::open(&path);
        victim.rename(function, "runtime.acquirem");
        let plan = victim.plan().unwrap();
        assert!(plan.sites.iter().all(|site| site.kind != kind), "{function}");
        assert_eq!(gaps(&plan, kind), [format!("the program has no function {function}")]);
        assert_eq!(plan.degraded.len(), 1);
    }
}

#[test]
fn two_functions_of_one_name_are_refused() {
    let path = or_skip!(go_build(GO, "million", Variant::Default));
    let mut victim = Victim::open(&path);
    victim.rename("runtime.wakep", "runtime.execute");
    let refused = PlanError::Ambiguous { name: "runtime.execute", count: 2 };
    assert_eq!(victim.plan(), Err(refused));
}

#[test]
fn inlined_copies_are_counted_and_their_functions_named() {
    let path = or_skip!(go_build(GO, "million", Variant::Default));
    let mut victim = Victim::open(&path);
    let copies = victim.program.table.inlined_copies(&["runtime.acquirem"]);
    let count: usize = copies.iter().map(|copy| copy.copies).sum();
    let first = copies[0].into.name().into_owned();
    assert!(count > 10, "{count}");

    // Inline trees that say `ready` where they said `acquirem`.
    let file = object::File::parse(&*victim.program.bytes).unwrap();
    let trees = file.symbols().find(|symbol| symbol.name() == Ok("go:func.*")).unwrap().address();
    let trees = usize::try_from(victim.program.image.file_offset(trees).unwrap()).unwrap();
    let size = usize::try_from(victim.program.table.inline_tree_bytes()).unwrap();
    let (from, to) = (victim.name("runtime.acquirem"), victim.name("runtime.ready"));
    for at in (trees..trees + size).step_by(4) {
        if victim.u32_at(at) == from {
            victim.set_u32(at, to);
        }
    }
    let plan = victim.plan().unwrap();
    let [gap] = gaps(&plan, SiteKind::Ready)[..] else { panic!("{:?}", plan.degraded) };
    assert!(gap.starts_with(&format!("runtime.ready is inlined at {count} places, in ")), "{gap}");
    assert!(gap.contains(&first) && gap.contains(" more: "), "{gap}");
    let ready = plan.sites.iter().filter(|site| site.kind == SiteKind::Ready);
    assert_eq!(ready.count(), 1, "the outlined copy is still probed");
}

#[test]
fn names_that_would_steer_a_terminal_are_made_harmless() {
    let path = or_skip!(go_build(GO, "million", Variant::Default));
    let mut victim = Victim::open(&path);
    let at = victim.table_at + victim.names + victim.name("runtime.newproc.func1") as usize;
    victim.program.bytes[at] = 0x1b;
    let plan = victim.plan().unwrap();
    assert!(plan.sites.iter().any(|site| &*site.function == "untime.newproc.func1"));
}

#[test]
fn code_that_is_no_code_is_refused() {
    let path = or_skip!(go_build(GO, "million", Variant::Default));
    for function in ["runtime.newproc1", "runtime.gdestroy", "runtime.park_m"] {
        let mut victim = Victim::open(&path);
        let (at, size) = victim.function(function);
        // No instruction of 64-bit code begins with 06.
        victim.program.bytes[at..at + size].fill(0x06);
        match victim.plan() {
            Err(PlanError::NotUnderstood { name, .. }) => assert_eq!(&*name, function),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_function_without_a_place_for_a_probe_leaves_the_plan_degraded() {
    let path = or_skip!(go_build(GO, "million", Variant::Default));
    let mut victim = Victim::open(&path);
    let (at, _) = victim.function("runtime.park_m");
    // jmp rcx instead of `push rbp; mov rbp, rsp`.
    victim.program.bytes[at + 10..at + 14].copy_from_slice(&[0xff, 0xe1, 0x66, 0x90]);
    let plan = victim.plan().unwrap();
    let [gap] = gaps(&plan, SiteKind::Park)[..] else { panic!("{:?}", plan.degraded) };
    assert!(gap.starts_with("runtime.park_m has no place for a safe probe: the jump at"), "{gap}");
}

#[test]
fn what_is_no_go_program_is_refused() {
    let own = std::fs::read("/proc/self/exe").unwrap();
    assert_eq!(plan_of(&own), Err(PlanError::NoTable));
    assert!(matches!(plan_of(b"#!/bin/sh\n"), Err(PlanError::Elf(_))));
}

/// Splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap()
    }
}

/// Whatever was altered, a site is an emulated instruction whose bytes are those in the file.
fn check(bytes: &[u8]) {
    let Ok(plan) = plan_of(bytes) else { return };
    for site in plan.sites {
        let at = usize::try_from(site.file_offset).unwrap();
        assert_eq!(bytes[at..at + site.bytes.len()], *site.bytes);
        assert_eq!(emulated(&site.bytes), Some(site.instruction));
    }
}

#[test]
fn damaged_programs_never_make_the_planner_panic_or_hang() {
    const ROUNDS: u32 = 60;
    let path = or_skip!(go_build(GO, "million", Variant::Default));
    let victim = Victim::open(&path);
    let whole = &victim.program.bytes;
    let plan = victim.plan().unwrap();
    let code: Vec<(usize, usize)> =
        plan.sites.iter().map(|site| victim.function(&site.function)).collect();
    let table = (victim.table_at, whole.len() - victim.table_at);
    let mut random = Random(7);
    for round in 0..common::go::cycles(ROUNDS) {
        let mut bytes = whole.clone();
        let areas = match round % 3 {
            0 => vec![code[random.below(code.len())]],
            1 => vec![(0, 64 + 56 * 12)],
            _ => vec![(table.0, 72), (table.0 + victim.functions, 20_000), table],
        };
        for _ in 0..=random.below(8) {
            let (start, size) = areas[random.below(areas.len())];
            bytes[start + random.below(size)] = random.next().to_le_bytes()[0];
        }
        check(&bytes);
    }
    for round in 0..12 {
        check(&whole[..whole.len() / 12 * round]);
    }
}
