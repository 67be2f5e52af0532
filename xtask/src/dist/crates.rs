//! What goes into the binary, as cargo resolves it: what is only used to build or to test does not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::run;

/// One crate.
#[derive(Clone, Default, Debug)]
pub struct Crate {
    /// How cargo names it: name, version and source.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// An SPDX expression; empty if it states none.
    pub licence: String,
    /// SHA-256 of the package it was built from; empty for our own.
    pub checksum: String,
    /// What it is, in its own words.
    pub description: String,
    /// Where its source is kept; empty if it does not say.
    pub repository: String,
    /// Where its source lies here.
    pub dir: PathBuf,
    /// Whether it runs in the compiler only.
    pub is_macro: bool,
    /// The ids of those it uses.
    pub uses: Vec<String>,
}

impl Crate {
    /// Whether it is part of loiter.
    pub fn is_own(&self) -> bool {
        self.checksum.is_empty()
    }
}

/// The packages that the binary is made of: the program, and the part that runs in the kernel.
const ROOTS: [&str; 2] = ["tracer-user", "tracer-ebpf"];

/// All crates of the binary, ours among them, by name and version.
///
/// # Errors
/// If cargo cannot tell.
pub fn all() -> Result<Vec<Crate>> {
    let told = run::quiet(run::cargo().args([
        "metadata",
        "--format-version=1",
        "--locked",
        "--filter-platform=x86_64-unknown-linux-gnu",
    ]))?;
    let metadata: Value = serde_json::from_str(&told).context("cargo metadata gave no JSON")?;
    let lock = std::fs::read_to_string(crate::go::workspace().join("Cargo.lock"))
        .context("cannot read Cargo.lock")?;
    Ok(resolve(&metadata, &checksums(&lock)))
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

fn items<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}

fn resolve(metadata: &Value, checksums: &BTreeMap<(String, String), String>) -> Vec<Crate> {
    let uses: BTreeMap<String, Vec<String>> = items(&metadata["resolve"], "nodes")
        .map(|node| (text(node, "id"), normal_dependencies(node)))
        .collect();
    let named = |name: &str| items(metadata, "packages").find(|p| p["name"] == name);
    let mut open: Vec<String> =
        ROOTS.iter().filter_map(|name| named(name)).map(|p| text(p, "id")).collect();
    let mut reached = BTreeSet::new();
    while let Some(id) = open.pop() {
        if reached.insert(id.clone()) {
            open.extend(uses.get(&id).into_iter().flatten().cloned());
        }
    }
    let mut crates: Vec<Crate> = items(metadata, "packages")
        .filter(|package| reached.contains(&text(package, "id")))
        .map(|package| one(package, &uses, checksums))
        .collect();
    crates.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    crates
}

/// Those of a node that are not for its tests or its build script.
fn normal_dependencies(node: &Value) -> Vec<String> {
    items(node, "deps")
        .filter(|dependency| items(dependency, "dep_kinds").any(|kind| kind["kind"].is_null()))
        .map(|dependency| text(dependency, "pkg"))
        .collect()
}

fn one(
    package: &Value,
    uses: &BTreeMap<String, Vec<String>>,
    checksums: &BTreeMap<(String, String), String>,
) -> Crate {
    let (id, name, version) =
        (text(package, "id"), text(package, "name"), text(package, "version"));
    let mut dir = PathBuf::from(text(package, "manifest_path"));
    dir.pop();
    let is_macro = items(package, "targets")
        .any(|target| items(target, "kind").any(|kind| kind == "proc-macro"));
    Crate {
        licence: text(package, "license"),
        checksum: checksums.get(&(name.clone(), version.clone())).cloned().unwrap_or_default(),
        description: text(package, "description").split_whitespace().collect::<Vec<_>>().join(" "),
        repository: text(package, "repository"),
        dir,
        is_macro,
        uses: uses.get(&id).cloned().unwrap_or_default(),
        id,
        name,
        version,
    }
}

/// `Cargo.lock`: name and version to SHA-256.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let value = |block: &str, key: &str| {
        let start = format!("{key} = \"");
        let line = block.lines().find_map(|line| line.strip_prefix(&start))?;
        Some(line.trim_end_matches('"').to_owned())
    };
    lock.split("[[package]]")
        .filter_map(|block| {
            let named = (value(block, "name")?, value(block, "version")?);
            Some((named, value(block, "checksum")?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_binary_has_what_runs_in_it_and_not_what_tests_it() {
        let crates = all().unwrap();
        let has = |name: &str| crates.iter().any(|it| it.name == name);
        for inside in ["tracer-user", "tracer-ebpf", "aya", "aya-ebpf", "clap", "zstd-sys"] {
            assert!(has(inside), "{inside}");
        }
        for outside in ["xtask", "proptest", "trycmd", "cc"] {
            assert!(!has(outside), "{outside}");
        }
        assert!(crates.iter().filter(|it| !it.is_own()).all(|it| it.checksum.len() == 64));
    }
}
