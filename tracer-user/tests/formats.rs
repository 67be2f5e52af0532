//! A recording of each format version is kept in tests/fixtures/recordings, and is read as it was then;
//! one of a later version is refused by name. `LOITER_BLESS=1` records one of the present version,
//! where there is none, and writes down what is in those that have no such note.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use common::loiter::{Loiter, run, run_json};
use common::{GoProc, NEWEST_GO, Variant, copy_program, go_build};
use loiter::record::{Item, Recording, VERSION};

fn kept() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/recordings")
}

fn blessing() -> bool {
    std::env::var_os("LOITER_BLESS").is_some()
}

/// One of the present version, of a real run.
fn record(path: &Path) {
    let exe = go_build(NEWEST_GO, "collector", Variant::Deployed).unwrap();
    // Its path is in the recording, and is to be nobody's.
    let home = tempfile::tempdir().unwrap();
    let program = home.path().join("collector");
    copy_program(&exe, &program);
    let (mut target, _) = GoProc::start_ready(&program, &[]);
    let pid = target.pid().to_string();
    let args = [
        "record",
        &pid,
        "-o",
        path.to_str().unwrap(),
        "--events",
        "all",
        "--redact",
        "--format",
        "jsonl",
    ];
    let mut recorder = Loiter::start(&args);
    recorder.wait_message("watching");
    for _ in 0..3 {
        target.ask("gc 2", "collected");
        std::thread::sleep(std::time::Duration::from_secs(2));
    }
    recorder.signal(libc::SIGINT);
    recorder.wait_message("recorded");
    target.finish();
}

/// What the reader finds: the overview, and each sort of input as read in full.
fn found(path: &Path) -> String {
    let file = path.to_str().unwrap();
    let mut overview = run_json(&["report", file, "--overview", "--format", "jsonl"]);
    overview.as_object_mut().unwrap().remove("path");
    let mut out = format!("{overview:#}\n");
    let mut items = Recording::open(path).unwrap().items();
    let mut sorts: BTreeMap<String, u64> = BTreeMap::new();
    while let Some(item) = items.next_item().unwrap() {
        let Item::Inputs(inputs) = item else { panic!("{file} has a gap") };
        for input in inputs {
            let name = format!("{input:?}");
            let name = name.split(|c: char| !c.is_alphanumeric()).next().unwrap().to_owned();
            *sorts.entry(name).or_default() += 1;
        }
    }
    assert_eq!((items.tail().unknown, items.tail().damaged), (0, 0), "{file}");
    for (sort, inputs) in sorts {
        writeln!(out, "{sort} {inputs}").unwrap();
    }
    let dump = run_json(&["dump", file, "--format", "json"]);
    for task in dump["tasks"].as_array().unwrap() {
        let (id, state) = (&task["id"], &task["state"]);
        writeln!(out, "task {id} {state} {}", task["wait_site"]["function"]).unwrap();
    }
    out
}

#[test]
fn a_recording_of_each_format_version_is_read_as_it_was() {
    let present = kept().join(format!("{}.{}.loiter", VERSION.0, VERSION.1));
    if blessing() && !present.exists() {
        record(&present);
    }
    assert!(present.exists(), "the present version has none: see the head of this file");
    let mut versions = 0;
    for entry in fs::read_dir(kept()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "loiter") {
            continue;
        }
        versions += 1;
        let note = path.with_extension("txt");
        let found = found(&path);
        if blessing() && !note.exists() {
            fs::write(&note, &found).unwrap();
        }
        assert_eq!(fs::read_to_string(&note).unwrap(), found, "{}", path.display());
        let (major, minor) = Recording::open(&path).unwrap().version();
        assert_eq!(path.file_stem().unwrap().to_str().unwrap(), format!("{major}.{minor}"));
    }
    assert!(versions >= 2);
}

#[test]
fn a_recording_of_a_later_major_version_is_refused_by_name() {
    let mut bytes = fs::read(kept().join("1.0.loiter")).unwrap();
    let stored = u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
    let raw = u32::from_le_bytes(bytes[16..20].try_into().unwrap()) as usize;
    let rest = bytes.split_off(80 + stored);
    let content = &bytes[80..];
    let mut content = match bytes[9] {
        0 => content.to_vec(),
        _ => zstd::bulk::decompress(content, raw).unwrap(),
    };
    content[..2].copy_from_slice(&9u16.to_le_bytes());
    let sum = |bytes: &[u8]| xxhash_rust::xxh3::xxh3_64(bytes).to_le_bytes();
    let mut head = bytes[..80].to_vec();
    let len = u32::try_from(content.len()).unwrap().to_le_bytes();
    head[9] = 0;
    head[12..16].copy_from_slice(&len);
    head[16..20].copy_from_slice(&len);
    head[64..72].copy_from_slice(&sum(&content));
    let own = sum(&head[..72]);
    head[72..].copy_from_slice(&own);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("later.loiter");
    fs::write(&path, [head, content, rest].concat()).unwrap();
    for command in ["report", "dump"] {
        let output = run(&[command, path.to_str().unwrap()]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{said}");
        for word in ["later.loiter", "format version 9.0", "up to 1", "loiter 0.1.0"] {
            assert!(said.contains(word), "{word}: {said}");
        }
    }
}
