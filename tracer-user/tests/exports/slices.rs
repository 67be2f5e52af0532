//! What the slices of a timeline claim.

use loiter::base::*;
use loiter::stream::Mode;
use loiter::view::timeline::Slice;

use crate::sim::{Doing, Truth};
use crate::support::{Recorded, history};

/// Whether the task did that all the time.
fn is_true(truth: &Truth, slice: &Slice) -> bool {
    let wanted = match slice.state {
        TaskState::Running => Doing::Running,
        TaskState::Runnable => Doing::Runnable,
        TaskState::Waiting => Doing::Waiting,
        // Only that it lives.
        _ => {
            return truth
                .at(slice.task.number, slice.since)
                .is_some_and(|m| m.doing != Doing::Gone);
        }
    };
    let n = slice.task.number;
    if slice.since == slice.until {
        // A look saw it so at some moment of its read, which takes up to 3 ms.
        let read = |back: u64| truth.at(n, KTime(slice.since.0 - back * 1_000));
        return (0..3_001).any(|back| read(back).is_some_and(|m| m.doing == wanted));
    }
    let first = truth.at(n, slice.since);
    let last = truth.at(n, KTime(slice.until.0.saturating_sub(1).max(slice.since.0)));
    first.is_some_and(|m| m.doing == wanted) && first.map(|m| m.at) == last.map(|m| m.at)
}

fn check(mode: Mode, loss: u64, min_true: f64) {
    let (mut all, mut wrong, mut exact) = (0u64, Vec::new(), 0u64);
    for seed in 1..6 {
        let (truth, inputs) = history(mode, loss, seed);
        let slices = Recorded::new(&inputs).timeline().slices;
        let mut ends = std::collections::BTreeMap::new();
        for slice in &slices {
            let floor = ends.insert(slice.task, slice.until).unwrap_or_default();
            assert!(slice.since >= floor && slice.until >= slice.since, "they overlap: {slice:?}");
            all += 1;
            exact += u64::from(slice.began == loiter::view::Exactness::Exact);
            if !is_true(&truth, slice) {
                wrong.push((seed, *slice, truth.at(slice.task.number, slice.since)));
            }
        }
    }
    assert!(all > 100, "{all} slices");
    assert!(exact > 0 || mode != Mode::All);
    let share = 1.0 - wrong.len() as f64 / all as f64;
    assert!(
        share >= min_true,
        "{} of {all} are wrong: {:#?}",
        wrong.len(),
        &wrong[..wrong.len().min(3)]
    );
}

#[test]
fn with_all_events_every_slice_is_true() {
    check(Mode::All, 0, 1.0);
}

#[test]
fn what_a_loss_may_have_touched_is_not_told() {
    check(Mode::All, 15, 1.0);
}

#[test]
fn looks_alone_tell_less_and_nothing_wrong() {
    check(Mode::None, 0, 1.0);
    check(Mode::Lifecycle, 0, 1.0);
}
