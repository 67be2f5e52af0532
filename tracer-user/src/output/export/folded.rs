//! Folded stacks: a line for each different stack, `outermost;...;innermost;[what it waits for] weight`, as
//! flame graph tools read them. May use: view, base, output::{clean, frames, group}.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};

use crate::base::Frame;
use crate::output::clean::clean;
use crate::output::group::{Group, group};
use crate::output::{GroupBy, frames, wait_reason};
use crate::view::TaskView;

/// What a stack weighs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Weight {
    /// How many tasks have it.
    Tasks,
    /// How long they have waited, all together, in nanoseconds. Waits not known weigh nothing.
    Wait,
}

impl Weight {
    fn of(self, group: &Group<'_>) -> u64 {
        match self {
            Weight::Tasks => group.tasks.len() as u64,
            Weight::Wait => group
                .tasks
                .iter()
                .filter_map(|t| t.waited.known())
                .fold(0, |sum, n| sum.saturating_add(n.0)),
        }
    }
}

/// The weight of each stack; those that weigh nothing are left out.
pub fn fold(tasks: &[&TaskView], weight: Weight) -> BTreeMap<String, u64> {
    let mut stacks: BTreeMap<String, u64> = BTreeMap::new();
    for group in group(tasks.iter().copied(), GroupBy::Stack) {
        let weight = weight.of(&group);
        if weight > 0 {
            let sum = stacks.entry(line(group.first)).or_default();
            *sum = sum.saturating_add(weight);
        }
    }
    stacks
}

/// Writes one line for each different stack.
///
/// # Errors
/// The writer's.
pub fn write_folded(out: &mut dyn Write, tasks: &[&TaskView], weight: Weight) -> io::Result<()> {
    for (stack, weight) in fold(tasks, weight) {
        writeln!(out, "{stack} {weight}")?;
    }
    Ok(())
}

fn line(task: &TaskView) -> String {
    let mut line = String::new();
    for frame in frames::shown_or_all(&task.frames).into_iter().rev() {
        push(&mut line, frame);
    }
    if line.is_empty()
        && let Some(start) = &task.start
    {
        // Of who runs no stack can be read.
        push(&mut line, start);
        line.push_str("(stack not read);");
    }
    let doing = wait_reason(task).unwrap_or_else(|| task.state.word());
    let _infallible = write!(line, "[{}]", part(doing));
    line
}

fn push(line: &mut String, frame: &Frame) {
    line.push_str(&part(&frame.function));
    line.push(';');
}

/// A name as a part of a line: what separates parts or begins a comment means itself no more.
fn part(name: &str) -> String {
    let name = clean(name.trim()).replace(';', ":");
    if name.starts_with('#') { format!("_{name}") } else { name }
}

#[cfg(test)]
mod tests {
    use super::part;

    #[test]
    fn a_name_stays_one_part_of_one_line() {
        assert_eq!(part("main.(*Server).run"), "main.(*Server).run");
        assert_eq!(part("a;b\nc "), "a:b\\nc");
        assert_eq!(part("# a"), "_# a");
    }
}
