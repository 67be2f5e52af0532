//! The table by which docs/on-call.md begins: each row's command, asked of a program that has the symptom.

use std::path::PathBuf;
use std::thread;

use regex::Regex;

use crate::blocks::grow_to;
use crate::common::loiter::command;
use crate::common::native::c_program;
use crate::common::{GoProc, NEWEST_GO, Variant, go_build, need_bpf, or_skip};

/// A program that has the symptom of a row.
struct Sick {
    exe: PathBuf,
    args: &'static [&'static str],
    /// It has the symptom once it has so many.
    tasks: usize,
}

/// In the order of the table.
fn sick() -> Result<Vec<Sick>, String> {
    let go = |name: &str| go_build(NEWEST_GO, name, Variant::Stripped);
    Ok(vec![
        Sick { exe: go("leaks")?, args: &["send-full-buffer", "leak"], tasks: 40 },
        Sick { exe: go("mutexcrowd")?, args: &["-n", "300"], tasks: 300 },
        Sick { exe: c_program("locks")?, args: &["abba2"], tasks: 2 },
        Sick { exe: go("hog")?, args: &["-n", "1"], tasks: 1 },
    ])
}

/// What a row says: the command, and the words of which one begins what is told.
fn rows() -> Vec<(String, Vec<String>)> {
    let page = crate::pages::read("docs/on-call.md");
    let command = Regex::new("`(loiter [^`]* PID[^`]*)`").unwrap();
    let word = Regex::new("`([A-Z][A-Z -]+)`").unwrap();
    let cells = page.lines().filter_map(|line| {
        let cells: Vec<&str> = line.split(" | ").collect();
        let [_, ask, says] = cells[..] else { return None };
        let words = word.captures_iter(says).map(|found| found[1].to_owned()).collect();
        Some((command.captures(ask)?[1].to_owned(), words))
    });
    cells.collect()
}

#[test]
fn each_symptom_of_the_on_call_page_is_answered_as_it_says() {
    or_skip!(need_bpf());
    let sick = or_skip!(sick());
    let rows = rows();
    assert_eq!(rows.len(), sick.len(), "{rows:?}");
    thread::scope(|scope| {
        for ((line, words), sick) in rows.iter().zip(&sick) {
            scope.spawn(move || {
                let (process, _) = GoProc::start_ready(&sick.exe, sick.args);
                grow_to(process.pid(), sick.tasks);
                let pid = process.pid().to_string();
                let args: Vec<&str> = line
                    .split(' ')
                    .skip(1)
                    .map(|word| if word == "PID" { &pid } else { word })
                    .collect();
                let output = command(&args).output().unwrap();
                let told = String::from_utf8_lossy(&output.stdout);
                let begins =
                    |word: &String| told.lines().any(|line| line.starts_with(&format!("{word}, ")));
                assert!(words.iter().any(begins), "{line} says none of {words:?}: {told}");
            });
        }
    });
}
