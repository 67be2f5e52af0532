//! Damage is told; what is read beside it is what was recorded, in its order.

use std::fs;
use std::path::Path;

use loiter::base::Nanos;
use loiter::record::*;
use loiter::stream::{Input, LossKind};

use crate::history::History;
use crate::support::*;
use crate::wild::{self, Dice};

/// A frame each hundredth of a second, so that small recordings have many.
const FLUSH: Nanos = Nanos::from_millis(10);

/// A recording with all sorts of frames in it.
fn small() -> (tempfile::TempDir, std::path::PathBuf, Vec<Input>) {
    let inputs = History::new(3).run(4_000).inputs.clone();
    let (dir, path) = new_path("whole.loiter");
    record_file(&path, &inputs, FLUSH);
    (dir, path, inputs)
}

/// Where frames begin.
fn frames(bytes: &[u8]) -> Vec<usize> {
    let magic = b"\x89LTRFRM\n";
    (0..bytes.len()).filter(|&i| bytes[i..].starts_with(magic)).collect()
}

/// Every input read is one that was recorded, in its order; those missing are counted exactly.
fn check(read: &Read, recorded: &[Input], what: &str) {
    let mut rest = recorded.iter();
    for input in &read.inputs {
        let again = matches!(
            input,
            Input::NameDef { .. }
                | Input::StackDef { .. }
                | Input::ReasonDef { .. }
                | Input::ClockAnchor { .. }
        );
        let told_by_reader = matches!(input, Input::Loss(loss) if loss.kind == LossKind::Recording);
        if !again && !told_by_reader {
            assert!(rest.any(|r| r == input), "{what}: {input:?} was not recorded there");
        }
    }
}

fn missing(read: &Read) -> u64 {
    read.gaps.iter().map(|gap| gap.inputs).sum()
}

#[test]
fn a_recording_cut_anywhere_in_its_last_two_frames_reads_up_to_the_cut() {
    let (dir, path, inputs) = small();
    let bytes = fs::read(&path).unwrap();
    let frames = frames(&bytes);
    let two_last = frames[frames.len() - 3];
    let cut = dir.path().join("cut.loiter");
    let mut last = 0;
    for len in two_last..bytes.len() {
        fs::write(&cut, &bytes[..len]).unwrap();
        let read = read(&cut).unwrap();
        assert_eq!(read.inputs[..], inputs[..read.inputs.len()], "cut at {len}");
        assert!(read.inputs.len() >= last, "cut at {len}");
        last = read.inputs.len();
        let whole = frames.contains(&len);
        assert!(read.gaps.is_empty(), "cut at {len}");
        assert_eq!(read.tail.damaged == 0, whole, "cut at {len}");
        assert_eq!(read.tail.closed, None, "cut at {len}");
    }
    assert_eq!(last, inputs.len());
}

#[test]
fn ten_thousand_corruptions_give_errors_or_gaps_and_never_a_wrong_input() {
    let (dir, path, inputs) = small();
    let bytes = fs::read(&path).unwrap();
    let at = dir.path().join("bad.loiter");
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let (mut refused, mut gaps, mut harmless) = (0, 0, 0);
    for round in 0..10_000 {
        let bad = corrupt(&bytes, &mut dice);
        fs::write(&at, &bad).unwrap();
        match read(&at) {
            Err(RecordError::NoRecording { .. }) => refused += 1,
            Err(error) => panic!("round {round}: {error}"),
            Ok(read) => {
                check(&read, &inputs, &format!("round {round}"));
                if read.gaps.is_empty() && read.tail.damaged == 0 {
                    harmless += 1;
                }
                gaps += u64::from(missing(&read) > 0);
            }
        }
    }
    println!("{refused} refused, {gaps} with a gap, {harmless} harmless");
    assert!(refused > 0 && gaps > 1_000 && harmless < 100);
}

/// Turned bits, bytes overwritten, stretches of zeros, pieces lost, doubled or moved.
fn corrupt(bytes: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bad = bytes.to_vec();
    for _ in 0..=dice.below(2) {
        let at = dice.below(bad.len() as u64) as usize;
        let end = bad.len().min(at + 1 + dice.below(300) as usize);
        match dice.below(6) {
            0 => bad[at] ^= 1 << dice.below(8),
            1 => bad[at] = bad[at].wrapping_add(1 + dice.below(255) as u8),
            2 => bad[at..end].fill(0),
            3 => drop(bad.drain(at..end)),
            4 => {
                let piece = bad[at..end].to_vec();
                bad.splice(at..at, piece);
            }
            _ => bad[at..end].reverse(),
        }
    }
    bad
}

#[test]
fn a_lost_frame_is_counted_exactly_and_a_look_with_a_hole_is_left_out() {
    let (dir, path, inputs) = small();
    let bytes = fs::read(&path).unwrap();
    let frames = frames(&bytes);
    let at = dir.path().join("hole.loiter");
    // Segment, some frames, end: each of the frames between is lost once.
    for pair in frames[1..].windows(2) {
        let mut bad = bytes.clone();
        bad.drain(pair[0]..pair[1]);
        fs::write(&at, &bad).unwrap();
        let read = read(&at).unwrap();
        check(&read, &inputs, "lost frame");
        assert_eq!(read.gaps.len(), 1, "{:?}", read.gaps);
        let looks = |read: &[Input]| {
            let begun = read.iter().filter(|i| matches!(i, Input::SnapshotBegin { .. })).count();
            let ended = read.iter().filter(|i| matches!(i, Input::SnapshotEnd { .. })).count();
            (begun, ended)
        };
        let (begun, ended) = looks(&read.inputs);
        assert!(ended <= begun);
        let gap = read.gaps[0];
        let told: u64 = read
            .inputs
            .iter()
            .filter_map(|i| match i {
                Input::Loss(loss) if loss.kind == LossKind::Recording => Some(loss.count),
                _ => None,
            })
            .sum();
        assert_eq!(told, gap.inputs);
        assert!(gap.since <= gap.until && gap.inputs > 0);
        assert_eq!(read.tail.closed.as_deref(), Some("the test is over"));
    }
}

#[test]
fn a_damaged_segment_is_a_gap_and_the_next_one_tells_its_names_again() {
    let inputs = History::new(7).run(400_000).inputs.clone();
    let (_dir, path) = new_path("segments");
    let place = Place::Directory(path.clone());
    let limits = Limits { max_bytes: Some(4 << 20), keep: None };
    record(RecorderSettings { limits, ..settings(place) }, &inputs, 500);
    let second = path.join("00000001.loiter");
    let len = fs::metadata(&second).unwrap().len();
    for bad in [Vec::new(), vec![0; len as usize], fs::read(&second).unwrap()[..200].to_vec()] {
        fs::write(&second, bad).unwrap();
        let read = read(&path).unwrap();
        assert_eq!(read.gaps.len(), 1, "{:?}", read.gaps);
        check(&read, &inputs, "lost segment");
        let after = read.inputs.iter().position(|i| matches!(i, Input::Loss(_))).unwrap();
        let names =
            |part: &[Input]| part.iter().filter(|i| matches!(i, Input::NameDef { .. })).count();
        assert_eq!(names(&read.inputs[after..]), names(&inputs));
        let defs = read.inputs.iter().filter(|i| matches!(i, Input::ProcessDef(_))).count();
        assert_eq!(defs, 1, "a process told again would begin anew");
    }
}

#[test]
fn what_is_no_recording_is_refused_in_words() {
    let (dir, path) = new_path("a.loiter");
    let refused = |path: &Path| read(path).unwrap_err().to_string();
    assert!(refused(&path).contains("cannot open"), "{}", refused(&path));
    fs::write(&path, b"").unwrap();
    assert!(refused(&path).contains("it is empty"), "{}", refused(&path));
    fs::write(&path, vec![b'x'; 100_000]).unwrap();
    assert!(refused(&path).contains("is it a recording of loiter?"), "{}", refused(&path));
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    assert!(refused(&empty).contains("it has no segments"), "{}", refused(&empty));
    assert!(refused(Path::new("/dev/zero")).contains("no plain file"));
}

#[test]
fn contents_that_are_not_what_they_say_are_refused_without_a_panic() {
    let mut dice = Dice(77);
    for seed in 1..40 {
        let inputs = wild::inputs(seed, 200);
        let content = fuzz_encode(&inputs);
        for _ in 0..250 {
            let mut bad = content.clone();
            for _ in 0..=dice.below(3) {
                let at = dice.below(bad.len() as u64) as usize;
                bad[at] = dice.next() as u8;
            }
            bad.truncate(bad.len() - (dice.below(4) * dice.below(20)) as usize % bad.len());
            fuzz_content(&bad);
        }
        for len in 0..content.len().min(2_000) {
            fuzz_content(&content[..len]);
        }
    }
}
