//! Recordings in temporary directories, written and read back.

use std::path::{Path, PathBuf};

use loiter::base::Nanos;
use loiter::record::*;
use loiter::stream::Input;

pub fn settings(place: Place) -> RecorderSettings {
    RecorderSettings {
        place,
        limits: Limits::default(),
        content: Content::Full,
        flush: RecorderSettings::FLUSH,
        writer: "a test".to_owned(),
        settings: vec![("key".to_owned(), "value".to_owned())],
    }
}

/// A directory that goes when dropped, and a path in it that is not there yet.
pub fn new_path(name: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    (dir, path)
}

/// Records inputs in batches of this size.
pub fn record(settings: RecorderSettings, inputs: &[Input], batch: usize) -> Written {
    let mut recorder = Recorder::start(settings).unwrap();
    for some in inputs.chunks(batch) {
        recorder.take(some).unwrap();
    }
    recorder.finish("the test is over").unwrap()
}

/// Records all of it into one file, with a frame for each `flush` of time.
pub fn record_file(path: &Path, inputs: &[Input], flush: Nanos) -> Written {
    let place = Place::File(path.to_owned());
    record(RecorderSettings { flush, ..settings(place) }, inputs, 1000)
}

/// What reading gave.
#[derive(Default, Debug)]
pub struct Read {
    pub inputs: Vec<Input>,
    pub gaps: Vec<Gap>,
    pub tail: Tail,
}

pub fn read(path: &Path) -> Result<Read, RecordError> {
    let mut items = Recording::open(path)?.items();
    let mut read = Read::default();
    while let Some(item) = items.next_item()? {
        match item {
            Item::Inputs(inputs) => read.inputs.extend(inputs),
            Item::Gap(gap) => read.gaps.push(gap),
        }
    }
    read.tail = items.tail().clone();
    Ok(read)
}
