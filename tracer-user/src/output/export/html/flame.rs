//! All stacks of a moment as one tree, outermost functions first. Bounded: the lightest branches are cut.
//! May use: view, base, output's helpers.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::base::Nanos;
use crate::output::group::group;
use crate::output::{GroupBy, frames, wait_reason};
use crate::view::TaskView;

use super::data::Strings;

/// Most nodes drawn.
const MAX_NODES: usize = 4_000;
/// Deeper frames are cut.
const MAX_DEPTH: usize = 120;

/// A function, or at the end what is waited for: number of its name, tasks, ms waited, callees.
#[derive(Serialize)]
pub struct Node(u32, u64, f64, Vec<Node>);

#[derive(Default)]
struct Branch {
    tasks: u64,
    waited: u64,
    below: BTreeMap<u32, Branch>,
}

impl Branch {
    fn add(&mut self, tasks: u64, waited: u64) {
        self.tasks += tasks;
        self.waited = self.waited.saturating_add(waited);
    }

    fn weights(&self, out: &mut Vec<u64>) {
        for branch in self.below.values() {
            out.push(branch.tasks);
            branch.weights(out);
        }
    }

    fn node(self, name: u32, least: u64) -> Node {
        let below = self.below.into_iter().filter(|(_, b)| b.tasks >= least);
        let mut below: Vec<Node> = below.map(|(name, b)| b.node(name, least)).collect();
        below.sort_by_key(|n| (std::cmp::Reverse(n.1), n.0));
        Node(name, self.tasks, Nanos(self.waited).as_secs_f64() * 1e3, below)
    }
}

/// The tree, and how many branches were cut.
pub fn tree(tasks: &[&TaskView], strings: &mut Strings) -> (Node, usize) {
    let mut root = Branch::default();
    for group in group(tasks.iter().copied(), GroupBy::Stack) {
        let count = group.tasks.len() as u64;
        let known = group.tasks.iter().filter_map(|t| t.waited.known());
        let waited = known.fold(0u64, |sum, n| sum.saturating_add(n.0));
        root.add(count, waited);
        let mut branch = &mut root;
        for name in path(group.first) {
            branch = branch.below.entry(strings.of(&name)).or_default();
            branch.add(count, waited);
        }
    }
    let mut weights = Vec::new();
    root.weights(&mut weights);
    weights.sort_unstable_by_key(|w| std::cmp::Reverse(*w));
    let least = weights.get(MAX_NODES).map_or(0, |w| w + 1);
    let cut = weights.iter().filter(|w| **w < least).count();
    let name = strings.of("all");
    (root.node(name, least), cut)
}

fn path(task: &TaskView) -> Vec<String> {
    let shown = frames::shown_or_all(&task.frames);
    let mut path: Vec<String> =
        shown.iter().rev().take(MAX_DEPTH).map(|f| f.function.to_string()).collect();
    if path.is_empty() {
        // Of who runs no stack can be read.
        path.extend(task.start.as_ref().map(|f| f.function.to_string()));
        path.push("(stack not read)".to_owned());
    }
    path.push(format!("[{}]", wait_reason(task).unwrap_or_else(|| task.state.word())));
    path
}
