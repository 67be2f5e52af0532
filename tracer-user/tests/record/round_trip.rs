//! What was recorded is what is read.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use loiter::base::Nanos;
use loiter::record::*;
use loiter::stream::Input;

use crate::history::History;
use crate::support::*;
use crate::wild;

#[test]
fn every_sort_of_input_comes_back_as_it_was() {
    for seed in 1..9 {
        let inputs = wild::inputs(seed, 2_000);
        let (_dir, path) = new_path("wild.loiter");
        // Ids given anew begin a segment each: reading goes on over them.
        record_file(&path, &inputs, Nanos(u64::MAX >> (8 * (seed % 8))));
        let read = read(&path).unwrap();
        assert!(read.gaps.is_empty(), "seed {seed}: {:?}", read.gaps);
        assert_eq!(read.inputs.len(), inputs.len(), "seed {seed}");
        for (i, (is, was)) in read.inputs.iter().zip(&inputs).enumerate() {
            assert_eq!(is, was, "seed {seed}, input {i}");
        }
        assert_eq!(read.tail.closed.as_deref(), Some("the test is over"));
    }
}

#[test]
fn a_file_is_its_owners_alone_and_never_overwritten() {
    let (dir, path) = new_path("a.loiter");
    record_file(&path, &wild::inputs(1, 10), Nanos(0));
    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    let again = Recorder::start(settings(Place::File(path.clone())));
    assert!(matches!(again, Err(RecordError::Occupied(_))), "{:?}", again.err());
    let segments = dir.path().join("segments");
    record(settings(Place::Directory(segments.clone())), &wild::inputs(1, 10), 3);
    assert_eq!(mode(&segments), 0o700);
    let again = Recorder::start(settings(Place::Directory(segments)));
    assert!(matches!(again, Err(RecordError::Occupied(_))), "{:?}", again.err());
}

#[test]
fn a_link_that_somebody_has_put_there_is_not_followed() {
    let (dir, path) = new_path("a.loiter");
    let victim = dir.path().join("victim");
    symlink(&victim, &path).unwrap();
    assert!(Recorder::start(settings(Place::File(path))).is_err());
    let (link, real) = (dir.path().join("link"), dir.path().join("real"));
    std::fs::create_dir(&real).unwrap();
    symlink(&real, &link).unwrap();
    assert!(Recorder::start(settings(Place::Directory(link))).is_err());
    assert!(!victim.exists());
}

#[test]
fn a_directory_keeps_the_newest_within_its_bound_and_reads_as_one() {
    let mut history = History::new(7);
    let inputs = history.run(1_000_000).inputs.clone();
    let (_dir, path) = new_path("segments");
    let limits = Limits { max_bytes: Some(Limits::LEAST_BYTES), keep: None };
    let place = Place::Directory(path.clone());
    let written = record(RecorderSettings { limits, ..settings(place) }, &inputs, 500);
    assert!(written.removed > 0, "{written:?}");
    assert!(written.bytes <= Limits::LEAST_BYTES, "{written:?}");
    let overview = Recording::open(&path).unwrap().overview().unwrap();
    assert_eq!(overview.bytes, written.bytes);
    assert_eq!(overview.removed_inputs + overview.inputs, inputs.len() as u64);
    let read = read(&path).unwrap();
    assert!(read.gaps.is_empty(), "{:?}", read.gaps);
    // First what the removed segments had defined, then the rest as it was.
    let rest = &inputs[overview.removed_inputs as usize..];
    assert!(matches!(rest[0], Input::SnapshotBegin { .. }), "{:?}", rest[0]);
    let (told_again, same) = read.inputs.split_at(read.inputs.len() - rest.len());
    assert_eq!(same, rest);
    // To who begins here, the process is watched from here on.
    let begins = rest[0].time().unwrap();
    for (again, first) in told_again.iter().zip(&inputs) {
        match (again, first) {
            (Input::ProcessDef(again), Input::ProcessDef(first)) => {
                assert!(first.at < again.at && again.at <= begins, "{again:?}");
                assert_eq!((again.pid, &again.exe), (first.pid, &first.exe));
            }
            (Input::ModeChange { at, mode, .. }, Input::ModeChange { mode: first, .. }) => {
                assert!(*at <= begins && mode == first, "{again:?}");
            }
            _ => assert_eq!(again, first),
        }
    }
}

#[test]
fn what_is_older_than_it_is_to_be_kept_goes_with_its_segment() {
    let mut history = History::new(7);
    // About 20 s.
    let inputs = history.run(1_000_000).inputs.clone();
    let (_dir, path) = new_path("segments");
    let limits = Limits { max_bytes: None, keep: Some(Nanos::from_secs(8)) };
    let place = Place::Directory(path.clone());
    record(RecorderSettings { limits, ..settings(place) }, &inputs, 500);
    let overview = Recording::open(&path).unwrap().overview().unwrap();
    let kept = overview.until.since(overview.from);
    assert!(kept >= Nanos::from_secs(7) && kept <= Nanos::from_secs(11), "{kept}");
}

#[test]
fn a_file_that_reaches_its_bound_ends_with_the_reason() {
    let mut history = History::new(7);
    let inputs = history.run(400_000).inputs.clone();
    let (_dir, path) = new_path("a.loiter");
    let limits = Limits { max_bytes: Some(Limits::LEAST_BYTES), keep: None };
    let place = Place::File(path.clone());
    let mut recorder = Recorder::start(RecorderSettings { limits, ..settings(place) }).unwrap();
    let error = inputs.chunks(500).find_map(|some| recorder.take(some).err()).unwrap();
    assert!(matches!(error, RecordError::Full { .. }), "{error}");
    drop(recorder);
    let read = read(&path).unwrap();
    assert!(read.gaps.is_empty() && read.tail.damaged == 0, "{:?}", read.tail);
    assert!(read.tail.stopped.as_deref().unwrap().contains("has reached its"), "{:?}", read.tail);
    assert_eq!(read.inputs[..], inputs[..read.inputs.len()]);
    assert!(std::fs::metadata(&path).unwrap().len() < 2 * Limits::LEAST_BYTES);
}

#[test]
fn a_redacted_recording_has_no_labels_and_no_build_settings() {
    let inputs = wild::inputs(3, 2_000);
    let (_dir, path) = new_path("a.loiter");
    let content = Content::Redacted;
    let place = Place::File(path.clone());
    record(RecorderSettings { content, ..settings(place) }, &inputs, 100);
    let read = read(&path).unwrap();
    assert_eq!(read.inputs.len(), inputs.len());
    for input in &read.inputs {
        match input {
            Input::SnapshotTask(task) => assert!(task.labels.is_empty()),
            Input::ProcessDef(def) => assert!(def.build.settings.is_empty()),
            _ => {}
        }
    }
    assert!(Recording::open(&path).unwrap().meta().redacted);
}

#[test]
fn an_overview_counts_without_reading_the_contents() {
    let mut history = History::new(7);
    let inputs = history.run(50_000).inputs.clone();
    let (_dir, path) = new_path("a.loiter");
    let written = record_file(&path, &inputs, RecorderSettings::FLUSH);
    let recording = Recording::open(&path).unwrap();
    let overview = recording.overview().unwrap();
    assert_eq!((overview.inputs, overview.bytes), (inputs.len() as u64, written.bytes));
    assert_eq!(overview.events, 50_000);
    let totals = recording.totals(|_| ()).unwrap();
    let counted: u64 = totals.iter().map(|(_, n, _)| n).sum();
    assert_eq!(counted, inputs.len() as u64);
    assert_eq!(recording.meta().setting("key"), Some("value"));
}
