//! Probe plans for real Go programs, built by every toolchain in every way, and checked against
//! what objdump says of the same code.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;
#[path = "plan/support.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use common::go::minor;
use common::{Variant, go_build, or_skip};
use loiter::runtime::plan::{Emulated, ProbePlan, Site, SiteKind};
use support::Program;

fn of_kind(plan: &ProbePlan, kind: SiteKind) -> Vec<&Site> {
    plan.sites.iter().filter(|site| site.kind == kind).collect()
}

fn show(what: &str, plan: &ProbePlan) {
    for site in &plan.sites {
        println!(
            "{what}\t{}\t{}\t{:#x}\t{}\t{}\t{}",
            site.kind.word(),
            site.function,
            site.address,
            site.text,
            site.location,
            site.why
        );
    }
    for gap in &plan.degraded {
        println!("{what}\t{}\tDEGRADED: {}", gap.kind.word(), gap.reason);
    }
}

/// The instructions of a range as objdump sees them: address and mnemonic.
fn objdump(path: &Path, from: u64, to: u64) -> Option<BTreeMap<u64, String>> {
    let output = Command::new("objdump")
        .args(["-d", "-w", "-M", "intel", "--no-show-raw-insn"])
        .arg(format!("--start-address={from:#x}"))
        .arg(format!("--stop-address={to:#x}"))
        .arg(path)
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let Some((address, rest)) = line.trim_start().split_once(":\t") else { continue };
        let Ok(address) = u64::from_str_radix(address, 16) else { continue };
        found.insert(address, rest.trim().to_owned());
    }
    Some(found)
}

/// What must hold of every site of every plan.
fn check_site(program: &Program, path: &Path, site: &Site) {
    let function = program.table.find(site.address).expect("a site lies in a function");
    assert_eq!(function.name(), &*site.function);
    assert!(site.address > function.entry(), "{site:?} is an entry");
    assert_eq!(program.image.file_offset(site.address), Some(site.file_offset));
    let start = usize::try_from(site.file_offset).unwrap();
    assert_eq!(program.bytes[start..start + site.bytes.len()], *site.bytes);
    let opcode = site.bytes[0];
    match site.instruction {
        Emulated::Nop => assert_eq!(*site.bytes, [0x90]),
        Emulated::Push => assert!(matches!(*site.bytes, [0x50..=0x57] | [0x41, 0x50..=0x57])),
        Emulated::Jump => assert!(matches!(opcode, 0xe9 | 0xeb)),
        Emulated::Branch => assert!(matches!(opcode, 0x70..=0x7f | 0x0f)),
        Emulated::Call => assert_eq!(opcode, 0xe8),
    }
    let Some(listing) = objdump(path, function.entry(), function.end()) else { return };
    let seen = listing.get(&site.address);
    let seen = seen.unwrap_or_else(|| panic!("objdump sees no instruction at {site:?}"));
    let mnemonic = site.text.split(' ').next().unwrap();
    // A long jump may be written with another name for the same condition.
    let same =
        seen.starts_with(mnemonic) || site.instruction == Emulated::Branch && seen.starts_with('j');
    assert!(same, "objdump sees `{seen}` where the plan has `{}`", site.text);
    // Nothing that objdump sees jumps between the entry and the site, but to the entry itself.
    let jumps = listing.values().filter(|text| text.starts_with('j'));
    let targets = jumps.filter_map(|text| text.split_whitespace().nth(1));
    for target in
        targets.filter_map(|word| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok())
    {
        let inside = target > function.entry() && target <= site.address;
        assert!(!inside || site.kind == SiteKind::Birth, "{target:#x} is jumped to: {site:?}");
    }
}

fn check_births(version: &str, program: &Program, plan: &ProbePlan, path: &Path) {
    let births = of_kind(plan, SiteKind::Birth);
    let functions: Vec<&str> = births.iter().map(|site| &*site.function).collect();
    assert!(functions.contains(&"runtime.newproc.func1"), "{functions:?}");
    assert!(functions.iter().any(|f| f.starts_with("runtime.debugCallWrap")), "{functions:?}");
    let uses_coroutines = minor(version) >= Some(23);
    let has_newcoro = functions.iter().any(|f| f.starts_with("runtime.newcoro"));
    assert_eq!(has_newcoro, uses_coroutines, "{functions:?}");
    // objdump finds the same calls, where there are symbols.
    let (from, to) = (program.table.text(), program.table.end());
    let Some(listing) = objdump(path, from, to) else { return };
    let calls = listing
        .values()
        .filter(|text| text.starts_with("call") && text.ends_with("<runtime.newproc1>"));
    let calls = calls.count();
    assert!(
        calls == 0 || calls == births.len(),
        "objdump sees {calls} calls, the plan has {births:?}"
    );
}

fn check(version: &str, variant: Variant, path: &Path) {
    let program = Program::open(version, path);
    let plan = program.plan().unwrap_or_else(|e| panic!("{version} {variant:?}: {e}"));
    show(&format!("{version}\t{}", variant.name()), &plan);
    for site in &plan.sites {
        check_site(&program, path, site);
    }
    if variant == Variant::Pgo {
        return;
    }
    assert_eq!(plan.degraded, [], "{version} {variant:?}");
    check_births(version, &program, &plan, path);
    for kind in SiteKind::ALL.into_iter().skip(1) {
        assert_eq!(of_kind(&plan, kind).len(), 1, "{version} {variant:?}: {kind:?}");
    }
    let death = &*of_kind(&plan, SiteKind::Death)[0].function;
    let expected = if minor(version) < Some(22) { "runtime.goexit0" } else { "runtime.gdestroy" };
    assert_eq!(death, expected);
}

fn cases() -> Vec<(&'static str, Variant)> {
    let mut cases = common::matrix();
    if !common::go::full_matrix() {
        cases.extend([
            ("1.19", Variant::Debug),
            ("1.21.13", Variant::Default),
            ("1.21.13", Variant::NoInline),
            ("1.27.3", Variant::Race),
            ("1.27.3", Variant::Debug),
            ("1.27.3", Variant::NoInline),
            ("1.27.3", Variant::Pgo),
        ]);
    }
    cases
}

#[test]
fn every_build_has_all_kinds_of_sites_at_instructions_that_objdump_sees_too() {
    for (version, variant) in cases() {
        let path = or_skip!(go_build(version, "zoo", variant));
        check(version, variant, &path);
    }
}
