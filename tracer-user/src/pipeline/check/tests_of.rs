//! Which of a program's own tests the tasks of a finding belong to: by where they were created,
//! by their stacks, and by those of the tasks that created them, as far as these are still there.

use std::collections::BTreeSet;

use crate::base::FrameId;
use crate::detect::Finding;
use crate::model::{Model, Process, Task};
use crate::runtime::go::testing::test_of;

/// So far up the line of parents.
const GENERATIONS: usize = 32;
/// Most tests named.
const MAX_TESTS: usize = 20;

pub(super) fn tests_of(model: &Model, finding: &Finding) -> Vec<String> {
    let Some(process) = model.process(finding.process) else { return Vec::new() };
    let tasks = finding.tasks.iter().filter_map(|&id| process.task(id));
    let tests: BTreeSet<&str> = tasks.filter_map(|task| test(model, process, task)).collect();
    tests.into_iter().take(MAX_TESTS).map(Into::into).collect()
}

fn test<'a>(model: &'a Model, process: &'a Process, task: &'a Task) -> Option<&'a str> {
    let mut next = Some(task);
    for _ in 0..GENERATIONS {
        let task = next?;
        let stack = model.names().stack(task.stack()).iter().copied();
        let frames = stack.chain([task.spawn_site(), task.start()]);
        if let Some(test) = frames.filter_map(|id| named(model, id)).next_back() {
            return Some(test);
        }
        next = task.parent().and_then(|id| process.task(id));
    }
    None
}

fn named(model: &Model, id: FrameId) -> Option<&str> {
    test_of(model.names().frame(id)?)
}
