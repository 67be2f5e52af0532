//! What each layer of tracer-user may use.

use super::paths::{UsedPath, used};

/// A layer: its name, and the layers it may use.
struct Layer {
    name: &'static str,
    may_use: &'static [&'static str],
}

/// From the lowest to the highest.
const LAYERS: &[Layer] = &[
    Layer { name: "base", may_use: &[] },
    Layer { name: "object", may_use: &["base"] },
    Layer { name: "target", may_use: &["base"] },
    Layer { name: "symbolize", may_use: &["base", "object", "target"] },
    Layer { name: "stream", may_use: &["base"] },
    Layer { name: "runtime", may_use: &["base", "object", "target", "symbolize", "stream"] },
    Layer { name: "kernel", may_use: &["base", "stream", "runtime::plan"] },
    Layer { name: "record", may_use: &["base", "stream"] },
    Layer { name: "model", may_use: &["base", "stream"] },
    Layer { name: "detect", may_use: &["base", "stream", "model"] },
    Layer { name: "view", may_use: &["base", "stream", "model", "detect"] },
    Layer { name: "output", may_use: &["base", "stream", "view"] },
    Layer {
        name: "pipeline",
        may_use: &[
            "base",
            "object",
            "target",
            "symbolize",
            "stream",
            "runtime",
            "kernel",
            "record",
            "model",
            "detect",
            "view",
            "output",
        ],
    },
    Layer {
        name: "cli",
        may_use: &[
            "base",
            "object",
            "target",
            "symbolize",
            "stream",
            "runtime",
            "kernel",
            "record",
            "model",
            "detect",
            "view",
            "output",
            "pipeline",
        ],
    },
];

/// A path outside of loiter that only some layers may use.
struct Outside {
    path: &'static str,
    allowed: Allowed,
    why: &'static str,
}

enum Allowed {
    Only(&'static [&'static str]),
    NotIn(&'static [&'static str]),
}

/// Layers that compute only: what they know comes in as data, so that a replay gives the same.
const PURE: &[&str] = &["object", "stream", "model", "detect", "view"];

const NO_IO: &str = "this layer does no I/O: what it knows comes in as data";
const NO_CLOCK: &str =
    "this layer has no clock: time comes from Inputs, so that a replay gives the same";
const AYA: &str = "only `kernel` knows aya, so that it can be replaced";

const OUTSIDE: &[Outside] = &[
    Outside { path: "aya", allowed: Allowed::Only(&["kernel"]), why: AYA },
    Outside { path: "aya_log", allowed: Allowed::Only(&["kernel"]), why: AYA },
    Outside { path: "aya_obj", allowed: Allowed::Only(&["kernel"]), why: AYA },
    Outside {
        path: "anyhow",
        allowed: Allowed::Only(&["pipeline", "cli"]),
        why: "below `pipeline` errors are types of their own (thiserror)",
    },
    Outside { path: "std::time::Instant", allowed: Allowed::NotIn(PURE), why: NO_CLOCK },
    Outside { path: "std::time::SystemTime", allowed: Allowed::NotIn(PURE), why: NO_CLOCK },
    Outside { path: "std::fs", allowed: Allowed::NotIn(PURE), why: NO_IO },
    Outside { path: "std::net", allowed: Allowed::NotIn(PURE), why: NO_IO },
    Outside { path: "std::process", allowed: Allowed::NotIn(PURE), why: NO_IO },
    Outside { path: "std::env", allowed: Allowed::NotIn(PURE), why: NO_IO },
    Outside { path: "std::thread", allowed: Allowed::NotIn(PURE), why: NO_IO },
    Outside { path: "libc", allowed: Allowed::NotIn(PURE), why: NO_IO },
    Outside { path: "rustix", allowed: Allowed::NotIn(PURE), why: NO_IO },
    Outside { path: "procfs", allowed: Allowed::NotIn(PURE), why: NO_IO },
    Outside { path: "tokio", allowed: Allowed::NotIn(PURE), why: NO_IO },
];

/// The faults of one file of tracer-user/src: line, and what is wrong. `file` is its path below src.
pub fn check(file: &str, text: &str) -> Vec<(usize, String)> {
    let module = module_of(file);
    let Some(name) = module.first() else {
        return Vec::new();
    };
    let Some(layer) = LAYERS.iter().find(|layer| layer.name == *name) else {
        return vec![(
            1,
            format!("`{name}` is in no layer: put it into the table of `cargo xtask layers`"),
        )];
    };
    let test_file = module.iter().any(|part| part.contains("test"));
    let faults = used(text, &module);
    faults.iter().filter_map(|path| fault(layer, path, test_file)).collect()
}

/// `model/merge.rs` and `model/merge/mod.rs` are `["model", "merge"]`; the root has no layer.
fn module_of(file: &str) -> Vec<&str> {
    let mut parts: Vec<_> = file.trim_end_matches(".rs").split('/').collect();
    if parts.last() == Some(&"mod") {
        parts.pop();
    }
    if matches!(parts.as_slice(), ["lib"] | ["main"]) { Vec::new() } else { parts }
}

fn fault(layer: &Layer, path: &UsedPath, test_file: bool) -> Option<(usize, String)> {
    let whole = path.segments.join("::");
    if let Some(inside) = whole.strip_prefix("crate::") {
        let target = path.segments.get(1)?;
        let known = LAYERS.iter().any(|other| other.name == target);
        let own = target == layer.name;
        if !known || own || layer.may_use.iter().any(|allowed| below(inside, allowed)) {
            return None;
        }
        let allowed = layer.may_use.join(", ");
        let what = format!("`{}` uses `{whole}`; it may use: {allowed}", layer.name);
        return Some((path.line, what));
    }
    let rule = OUTSIDE.iter().find(|rule| below(&whole, rule.path))?;
    let allowed = match rule.allowed {
        Allowed::Only(layers) => layers.contains(&layer.name),
        Allowed::NotIn(layers) => !layers.contains(&layer.name) || path.in_test || test_file,
    };
    (!allowed).then(|| (path.line, format!("`{}` uses `{whole}`: {}", layer.name, rule.why)))
}

/// Whether a path is this one or one below it.
fn below(path: &str, root: &str) -> bool {
    path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(file: &str, text: &str) -> usize {
        check(file, text).len()
    }

    #[test]
    fn a_lower_layer_may_not_use_a_higher_one() {
        assert_eq!(faults("model/mod.rs", "use crate::view::TaskView;"), 1);
        assert_eq!(faults("model/merge.rs", "use super::super::detect::Finding;"), 1);
        assert_eq!(faults("stream/mod.rs", "fn f() { crate::model::Model::new(); }"), 1);
        assert_eq!(faults("base/time.rs", "use crate::stream::Input;"), 1);
    }

    #[test]
    fn a_higher_layer_may_use_a_lower_one() {
        assert_eq!(faults("detect/crowd.rs", "use crate::{base::Nanos, model::Model};"), 0);
        assert_eq!(faults("model/mod.rs", "use crate::model::merge::Merge;"), 0);
        assert_eq!(faults("cli/dump.rs", "use crate::pipeline::run;"), 0);
    }

    #[test]
    fn the_kernel_layer_sees_probe_plans_and_nothing_else_of_the_runtimes() {
        assert_eq!(faults("kernel/attach.rs", "use crate::runtime::plan::ProbePlan;"), 0);
        assert_eq!(faults("kernel/attach.rs", "use crate::runtime::go::layout::Layout;"), 1);
        assert_eq!(faults("kernel/attach.rs", "use crate::runtime::planner::Planner;"), 1);
    }

    #[test]
    fn aya_lives_in_kernel_alone() {
        assert_eq!(faults("kernel/load.rs", "use aya::Ebpf;"), 0);
        assert_eq!(faults("pipeline/mod.rs", "use aya::Ebpf;"), 1);
        assert_eq!(faults("pipeline/mod.rs", "#[cfg(test)] mod tests { use aya_obj::Object; }"), 1);
    }

    #[test]
    fn pure_layers_have_no_clock_and_no_files_but_their_tests_may() {
        assert_eq!(faults("model/mod.rs", "use std::time::Instant;"), 1);
        assert_eq!(faults("model/mod.rs", "use std::time::Duration;"), 0);
        assert_eq!(faults("object/elf.rs", "use std::{fs, io};"), 1);
        assert_eq!(faults("object/elf.rs", "#[cfg(test)] mod tests { use std::fs; }"), 0);
        assert_eq!(faults("object/tests.rs", "use std::fs;"), 0);
        assert_eq!(faults("target/memory.rs", "use std::fs;"), 0);
    }

    #[test]
    fn anyhow_stays_above_the_library_layers() {
        assert_eq!(faults("kernel/mod.rs", "use anyhow::Result;"), 1);
        assert_eq!(faults("cli/mod.rs", "use anyhow::Result;"), 0);
    }

    #[test]
    fn words_in_comments_and_strings_are_no_imports() {
        let text = "//! May not use crate::view::X.\nconst A: &str = \"crate::output::Y\";";
        assert_eq!(faults("model/mod.rs", text), 0);
    }

    #[test]
    fn an_unknown_module_needs_a_place_in_the_table() {
        assert_eq!(faults("extra/mod.rs", ""), 1);
    }
}
