//! The table as Rust source.

use std::fmt::Write as _;

use super::extract::{FUNC_IDS, Facts, Presence, STRUCTURES};

const HEADER: &str = "\
//! Made by `cargo xtask layouts`; do not edit. `cargo xtask layouts --check` tells whether it is
//! what the toolchains say.
//!
//! Source: DWARF and data of a program built by each version's own toolchain for amd64
//! (`runtime.g` and the other structures: src/runtime/runtime2.go, chan.go, symtab.go, time.go;
//! function ids: src/internal/abi/symtab.go, up to 1.20 src/runtime/symtab.go; wait reasons:
//! `runtime.waitReasonStrings`).

use super::layout::{
    FuncIds, G, Gobuf, Hchan, Layout, M, Moduledata, P, Schedt, Sudog, Timer, Waitq,
};

";

/// The whole file.
pub fn table(all: &[Facts]) -> String {
    let mut out = String::from(HEADER);
    let _ = writeln!(out, "pub(super) static LAYOUTS: [Layout; {}] = [", all.len());
    for facts in all {
        one(&mut out, facts);
    }
    out.push_str("];\n");
    out
}

fn one(out: &mut String, facts: &Facts) {
    let minor = facts.version.split('.').nth(1).unwrap_or_default();
    let _ = writeln!(out, "Layout {{ minor: {minor}, source: {:?},", facts.version);
    for (structure, offsets) in STRUCTURES.iter().zip(&facts.structures) {
        let _ = writeln!(out, "{}: {} {{", structure.name, structure.rust);
        for (field, offset) in structure.fields.iter().zip(&offsets.fields) {
            let _ = writeln!(out, "{}: {},", field.name, number(*offset, field.presence));
        }
        let _ = writeln!(out, "size: {} }},", offsets.size);
    }
    out.push_str("func_ids: FuncIds {\n");
    for ((name, _, presence), id) in FUNC_IDS.iter().zip(&facts.func_ids) {
        let _ = writeln!(out, "{name}: {},", number(*id, *presence));
    }
    out.push_str("},\nwait_reasons: &[\n");
    for word in &facts.wait_reasons {
        let _ = writeln!(out, "{word:?},");
    }
    out.push_str("] },\n");
}

fn number(value: Option<u64>, presence: Presence) -> String {
    match (value, presence) {
        (Some(value), Presence::Always) => value.to_string(),
        (Some(value), _) => format!("Some({value})"),
        (None, _) => "None".to_owned(),
    }
}
