//! Folded stacks as frames in the order in which they are drawn. Bounded in depth, number and length of names: a
//! target can have stacks of any depth, and names of any length. May use: output's helpers.

use std::collections::BTreeMap;

use crate::output::text::words::count;

/// Most frames drawn; the lightest are left out.
const MAX_FRAMES: usize = 10_000;
/// Frames of a stack, what it waits for not counted; from the outermost inwards.
const MAX_DEPTH: usize = 120;
/// Longest name, in characters.
const MAX_NAME: usize = 300;

/// A box of the picture.
pub struct Frame<'a> {
    /// Function, or at the end what is waited for.
    pub name: &'a str,
    /// The weight of all that stands left of it.
    pub start: u64,
    /// Its own.
    pub weight: u64,
    /// How many frames are above it.
    pub depth: usize,
}

/// All frames, each before those that it called.
pub struct Tree<'a> {
    /// The frames.
    pub frames: Vec<Frame<'a>>,
    /// The weight of all stacks.
    pub total: u64,
    /// How many rows there are.
    pub depth: usize,
    /// What was left out because of a bound; None = nothing.
    pub left_out: Option<String>,
}

#[derive(Default)]
struct Branch<'a> {
    weight: u64,
    below: BTreeMap<&'a str, Branch<'a>>,
}

impl<'a> Branch<'a> {
    fn weights(&self, out: &mut Vec<u64>) {
        for branch in self.below.values() {
            out.push(branch.weight);
            branch.weights(out);
        }
    }

    fn draw(&self, least: u64, at: (u64, usize), frames: &mut Vec<Frame<'a>>) {
        let (mut start, depth) = at;
        for (name, branch) in &self.below {
            if branch.weight >= least {
                frames.push(Frame { name, start, weight: branch.weight, depth });
                branch.draw(least, (start, depth + 1), frames);
            }
            start = start.saturating_add(branch.weight);
        }
    }
}

/// The tree of folded stacks, below one frame for all.
pub fn tree(stacks: &BTreeMap<String, u64>) -> Tree<'_> {
    let mut root = Branch::default();
    let mut cut_stacks = 0;
    for (stack, weight) in stacks {
        root.weight = root.weight.saturating_add(*weight);
        let (path, cut) = path(stack);
        cut_stacks += u64::from(cut);
        let mut branch = &mut root;
        for name in path {
            branch = branch.below.entry(name).or_default();
            branch.weight = branch.weight.saturating_add(*weight);
        }
    }
    let total = root.weight;
    let all = Branch { weight: total, below: BTreeMap::from([("all", root)]) };
    let mut weights = Vec::new();
    all.weights(&mut weights);
    weights.sort_unstable_by_key(|weight| std::cmp::Reverse(*weight));
    let least = weights.get(MAX_FRAMES).map_or(0, |weight| weight.saturating_add(1));
    let mut frames = Vec::new();
    if total > 0 {
        all.draw(least, (0, 0), &mut frames);
    }
    let thin = weights.len() - weights.partition_point(|weight| *weight >= least);
    let depth = frames.iter().map(|frame| frame.depth + 1).max().unwrap_or(1);
    Tree { frames, total, depth, left_out: left_out(thin, cut_stacks) }
}

fn left_out(thin: usize, cut_stacks: u64) -> Option<String> {
    let thin = (thin > 0).then(|| format!("{} thin frames", count(thin as u64)));
    let cut = (cut_stacks > 0).then(|| {
        format!("in {} stacks what lies deeper than {MAX_DEPTH} frames", count(cut_stacks))
    });
    let words: Vec<String> = thin.into_iter().chain(cut).collect();
    (!words.is_empty()).then(|| words.join("; "))
}

/// The names of a stack, and whether some were left out between the outermost and what is waited for.
fn path(stack: &str) -> (Vec<&str>, bool) {
    let (functions, last) = stack.rsplit_once(';').unwrap_or(("", stack));
    let mut names = functions.split(';').filter(|name| !name.is_empty());
    let mut path: Vec<&str> = names.by_ref().take(MAX_DEPTH).map(cut).collect();
    path.push(cut(last));
    (path, names.next().is_some())
}

fn cut(name: &str) -> &str {
    name.char_indices().nth(MAX_NAME).and_then(|(end, _)| name.get(..end)).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stacks(all: &[(&str, u64)]) -> BTreeMap<String, u64> {
        all.iter().map(|(stack, weight)| ((*stack).to_owned(), *weight)).collect()
    }

    #[test]
    fn frames_that_stacks_share_are_drawn_once_and_lie_within_their_callers() {
        let stacks = stacks(&[("a;b;[x]", 3), ("a;c;[x]", 1), ("d;[y]", 2)]);
        let tree = tree(&stacks);
        let drawn: Vec<_> =
            tree.frames.iter().map(|f| (f.name, f.start, f.weight, f.depth)).collect();
        let wanted = [
            ("all", 0, 6, 0),
            ("a", 0, 4, 1),
            ("b", 0, 3, 2),
            ("[x]", 0, 3, 3),
            ("c", 3, 1, 2),
            ("[x]", 3, 1, 3),
            ("d", 4, 2, 1),
            ("[y]", 4, 2, 2),
        ];
        assert_eq!(drawn, wanted);
        assert_eq!((tree.total, tree.depth, tree.left_out), (6, 4, None));
    }

    #[test]
    fn nothing_is_an_empty_tree() {
        let none = BTreeMap::new();
        let tree = tree(&none);
        assert!(tree.frames.is_empty());
        assert_eq!((tree.total, tree.depth), (0, 1));
    }

    #[test]
    fn depth_is_bounded_and_what_is_waited_for_stays() {
        let deep = format!("{};[x]", vec!["f"; 5_000].join(";"));
        let stacks = stacks(&[(&deep, 1)]);
        let tree = tree(&stacks);
        assert_eq!(tree.frames.len(), MAX_DEPTH + 2);
        assert_eq!(tree.frames.last().unwrap().name, "[x]");
        assert!(tree.left_out.unwrap().contains("in 1 stacks"));
    }

    #[test]
    fn the_number_of_frames_is_bounded_and_the_heavy_ones_stay() {
        let mut many: BTreeMap<String, u64> =
            (0..30_000).map(|n| (format!("f{n};[x]"), 1)).collect();
        many.insert("main;[y]".to_owned(), 50);
        let tree = tree(&many);
        assert!(tree.frames.len() <= MAX_FRAMES);
        assert!(tree.frames.iter().any(|f| f.name == "main"));
        let left_out = tree.left_out.unwrap();
        assert!(left_out.ends_with("thin frames"), "{left_out}");
    }

    #[test]
    fn names_and_weights_beyond_all_measure_are_no_trouble() {
        let long = format!("{};[x]", "ä".repeat(100_000));
        let stacks = stacks(&[(&long, u64::MAX), ("b;[x]", u64::MAX)]);
        let tree = tree(&stacks);
        assert_eq!(tree.total, u64::MAX);
        assert!(tree.frames.iter().all(|f| f.name.chars().count() <= MAX_NAME));
    }
}
