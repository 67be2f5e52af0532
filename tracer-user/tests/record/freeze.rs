//! What is frozen is a recording of its own, from its first input on, whatever happens afterwards.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};

use loiter::base::Nanos;
use loiter::record::*;
use loiter::stream::Input;

use crate::history::History;
use crate::support::*;

fn told<T: Send + 'static>() -> (Done<T>, Receiver<Result<T, RecordError>>) {
    let (sender, receiver) = channel();
    (Done::new(move |how| drop(sender.send(how))), receiver)
}

/// A ring that keeps four seconds.
fn ring(path: &Path) -> Recorder {
    let limits = Limits { max_bytes: None, keep: Some(Nanos::from_secs(4)) };
    let place = Place::Directory(path.to_owned());
    Recorder::start(RecorderSettings { limits, ..settings(place) }).unwrap()
}

/// In batches as small as drains of a ring are, so that the thread that writes keeps up.
fn take(recorder: &mut Recorder, inputs: &[Input]) {
    inputs.chunks(500).for_each(|some| recorder.take(some).unwrap());
}

fn looks(inputs: &[Input]) -> usize {
    inputs.iter().filter(|i| matches!(i, Input::SnapshotEnd { .. })).count()
}

#[test]
fn what_is_frozen_begins_before_the_trigger_ends_after_it_and_outlives_the_ring() {
    // About 20 s.
    let inputs = History::new(11).run(1_000_000).inputs.clone();
    let third = inputs.len() / 3;
    let (dir, path) = new_path("ring");
    let kept = dir.path().join("kept");
    let mut recorder = ring(&path);
    take(&mut recorder, &inputs[..third]);
    let (done, begun) = told();
    recorder.freeze(kept.clone(), done).unwrap();
    begun.recv().unwrap().unwrap();
    // What is there already can be read: nothing more may ever come.
    let early = read(&kept).unwrap();
    assert_eq!(early.tail.closed, None);
    assert!(early.gaps.is_empty() && looks(&early.inputs) > 2);
    assert_eq!(early.inputs.last(), Some(&inputs[third - 1]));
    take(&mut recorder, &inputs[third..third + 100_000]);
    let (done, ended) = told();
    recorder.release("frozen: a test", done);
    take(&mut recorder, &inputs[third + 100_000..]);
    let how = ended.recv().unwrap().unwrap();
    recorder.finish("the test is over").unwrap();

    let whole = read(&kept).unwrap();
    assert!(whole.gaps.is_empty() && whole.tail.damaged == 0, "{:?}", whole.gaps);
    assert_eq!(whole.tail.closed.as_deref(), Some("frozen: a test"));
    assert_eq!(whole.inputs[..early.inputs.len()], early.inputs);
    let overview = Recording::open(&kept).unwrap().overview().unwrap();
    assert_eq!((overview.segments, overview.bytes), (how.segments, how.bytes));
    let until = usize::try_from(overview.removed_inputs + overview.inputs).unwrap();
    assert!(until >= third + 100_000 && until < inputs.len());
    assert_eq!(whole.inputs.last(), Some(&inputs[until - 1]));
    // It ends where a look begins: the ring can be read from there at once.
    assert!(matches!(inputs[until], Input::SnapshotBegin { .. }), "{:?}", inputs[until]);

    // The ring went on, and has long removed what was frozen.
    let rest = read(&path).unwrap();
    assert!(rest.gaps.is_empty());
    assert_eq!(rest.tail.closed.as_deref(), Some("the test is over"));
    assert_eq!(rest.inputs.last(), inputs.last());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&kept), 0o700);
    for file in fs::read_dir(&kept).unwrap() {
        assert_eq!(mode(&file.unwrap().path()), 0o600);
    }
}

#[test]
fn a_recording_that_begins_late_tells_who_is_watched_and_all_names_before_a_look() {
    let inputs = History::new(12).run(1_000_000).inputs.clone();
    let (dir, path) = new_path("ring");
    let kept = dir.path().join("kept");
    let mut recorder = ring(&path);
    take(&mut recorder, &inputs);
    let (done, begun) = told();
    recorder.freeze(kept.clone(), done).unwrap();
    begun.recv().unwrap().unwrap();
    drop(recorder);
    let read = read(&kept).unwrap();
    let look = read.inputs.iter().position(|i| matches!(i, Input::SnapshotBegin { .. })).unwrap();
    let (before, _) = read.inputs.split_at(look);
    let sort = |fits: fn(&Input) -> bool| before.iter().filter(|i| fits(i)).count();
    assert_eq!(sort(|i| matches!(i, Input::ProcessDef(_))), 1);
    assert_eq!(sort(|i| matches!(i, Input::ModeChange { .. })), 1);
    assert_eq!(sort(|i| matches!(i, Input::ClockAnchor { .. })), 1);
    assert_eq!(sort(|i| matches!(i, Input::NameDef { .. })), 19);
    assert_eq!(before.len(), sort(|i| !matches!(i, Input::Event(_))), "a look comes first");
}

#[test]
fn a_ring_goes_on_when_something_cannot_be_frozen() {
    let inputs = History::new(13).run(20_000).inputs.clone();
    let (dir, path) = new_path("ring");
    let mut recorder = ring(&path);
    take(&mut recorder, &inputs[..10_000]);
    let taken = dir.path().join("taken");
    fs::write(&taken, "else").unwrap();
    for (to, word) in [(taken, "taken"), (dir.path().join("no/where"), "no/where")] {
        let (done, begun) = told();
        recorder.freeze(to, done).unwrap();
        let why = begun.recv().unwrap().unwrap_err().to_string();
        assert!(why.contains(word), "{why}");
    }
    // There is nothing to be ended.
    let (done, ended) = told();
    recorder.release("never begun", done);
    take(&mut recorder, &inputs[10_000..]);
    recorder.finish("the test is over").unwrap();
    assert!(ended.recv().unwrap().is_err());
    let read = read(&path).unwrap();
    assert_eq!(read.inputs, inputs);
    assert_eq!(read.tail.closed.as_deref(), Some("never begun; the test is over"));
}

#[test]
fn a_second_freeze_and_one_of_a_single_file_are_refused() {
    let inputs = History::new(14).run(2_000).inputs.clone();
    let (dir, path) = new_path("ring");
    let mut recorder = ring(&path);
    take(&mut recorder, &inputs);
    let refused = |recorder: &mut Recorder, name: &str| {
        let (done, begun) = told();
        recorder.freeze(dir.path().join(name), done).unwrap();
        begun.recv().unwrap().is_err()
    };
    assert!(!refused(&mut recorder, "a"));
    assert!(refused(&mut recorder, "b"));
    let place = Place::File(dir.path().join("one.loiter"));
    let mut recorder = Recorder::start(settings(place)).unwrap();
    take(&mut recorder, &inputs);
    assert!(refused(&mut recorder, "c"));
}
