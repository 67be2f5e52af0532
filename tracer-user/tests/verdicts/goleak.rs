//! The programs that Go's own leak profile is tested with (src/runtime/testdata/testgoroutineleakprofile of Go 1.26 and later), with the
//! call of the profile taken out, and what Go's test (src/runtime/goroutineleakprofile_test.go) expects of each. Both are read out of the
//! toolchain at test time: nothing of theirs is in this repository.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

use crate::common::go::{Variant, go_build_dir, go_tool, target_dir};

/// Where Go's programs take their profile, and what stands there instead: in the same line, so that all lines keep their numbers.
const REWRITES: [(&str, &str); 2] = [
    ("prof.WriteTo(os.Stdout, 2)", "loiterHold(prof, os.Stdout)"),
    ("prof.WriteTo(io.Discard, 2)", "loiterPass(prof, io.Discard)"),
];

/// What is added to each package. A program says `ready`, begins when it is told `go`, and where it would take its profile it waits until
/// it is told `dump`: then it tells its own stacks. The waits are reads in a system call: nothing that could pass for a leak.
const HOLD: &str = r#"package main

import (
	"fmt"
	"os"
	"runtime"
)

func init() {
	if len(os.Args) < 2 {
		return
	}
	fmt.Println("ready")
	loiterAwait()
}

// loiterAwait reads one line; at the end of the input the program ends.
func loiterAwait() {
	for one := []byte{0}; one[0] != '\n'; {
		if n, _ := os.Stdin.Read(one); n == 0 {
			os.Exit(0)
		}
	}
}

func loiterHold(...any) {
	for {
		loiterAwait()
		stacks := make([]byte, 16<<20)
		fmt.Printf("%s\nend of dump\n", stacks[:runtime.Stack(stacks, true)])
	}
}

func loiterPass(...any) {}
"#;

/// What Go's test expects of one program.
pub struct Case {
    pub name: String,
    /// Go's test knows that it does not always leak, or not always the same.
    pub flaky: bool,
    pub leaks: Vec<Regex>,
    /// The program that has it.
    pub exe: PathBuf,
}

impl Case {
    /// The environment that Go's test gives it. The flaky ones run on more than one thread.
    pub fn env(&self) -> Vec<(&'static str, &'static str)> {
        let mut env = vec![("GODEBUG", "asyncpreemptoff=1")];
        if !self.flaky {
            env.push(("GOMAXPROCS", "1"));
        }
        env
    }
}

/// The programs of a Go version, built, with what is expected of each.
///
/// # Errors
/// If the toolchain or its sources are not there, or a program does not build.
pub fn cases(version: &str) -> Result<Vec<Case>, String> {
    let go = go_tool(version)?;
    let runtime = go.ancestors().nth(2).unwrap_or(&go).join("src/runtime");
    let programs = runtime.join("testdata/testgoroutineleakprofile");
    let test = runtime.join("goroutineleakprofile_test.go");
    let text = fs::read_to_string(&test).map_err(|e| format!("{}: {e}", test.display()))?;
    let mut registered = BTreeMap::new();
    for (name, source) in [("simple", programs.clone()), ("goker", programs.join("goker"))] {
        let home = target_dir().join("goroutineleak").join(version).join(name);
        let sources = rewritten(&source)?;
        write(&home, &sources)?;
        let exe = go_build_dir(version, &home, Variant::Stripped)?;
        for text in sources.values() {
            for part in text.split("register(\"").skip(1) {
                let name = part.split('"').next().unwrap_or_default();
                registered.insert(name.to_owned(), exe.clone());
            }
        }
    }
    let mut all = Vec::new();
    for (name, flaky, leaks) in expectations(&text) {
        let exe = registered.get(&name).ok_or_else(|| format!("no program is named {name}"))?;
        let read = |leak: &String| Regex::new(leak).map_err(|e| format!("{name}: {e}"));
        let leaks = leaks.iter().map(read).collect::<Result<_, _>>()?;
        all.push(Case { flaky, exe: exe.clone(), leaks, name });
    }
    Ok(all)
}

/// The sources of a package with the profile taken out, by file name.
fn rewritten(package: &Path) -> Result<BTreeMap<String, String>, String> {
    let fault = |e: std::io::Error| format!("{}: {e}", package.display());
    let mut sources = BTreeMap::new();
    for entry in fs::read_dir(package).map_err(fault)? {
        let path = entry.map_err(fault)?.path();
        if path.extension().is_some_and(|e| e == "go") {
            let mut text = fs::read_to_string(&path).map_err(fault)?;
            for (theirs, ours) in REWRITES {
                text = text.replace(theirs, ours);
            }
            if text.contains("prof.WriteTo") {
                return Err(format!("{} takes its profile in an unknown way", path.display()));
            }
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            sources.insert(name, text);
        }
    }
    sources.insert("loiter_hold.go".to_owned(), HOLD.to_owned());
    sources.insert("go.mod".to_owned(), "module goroutineleak\n\ngo 1.26\n".to_owned());
    Ok(sources)
}

fn write(home: &Path, sources: &BTreeMap<String, String>) -> Result<(), String> {
    let fault = |e: std::io::Error| format!("{}: {e}", home.display());
    if home.exists() {
        fs::remove_dir_all(home).map_err(fault)?;
    }
    fs::create_dir_all(home).map_err(fault)?;
    sources.iter().try_for_each(|(name, text)| fs::write(home.join(name), text).map_err(fault))
}

/// Name, whether flaky, and the expected leaks of each `makeTest(...)` and `makeFlakyTest(...)` of Go's test.
fn expectations(test: &str) -> Vec<(String, bool, Vec<String>)> {
    let code: Vec<&str> = test.lines().filter(|line| !line.trim().starts_with("//")).collect();
    let code = code.join("\n");
    let mut all = Vec::new();
    for (call, flaky) in [("makeTest(\"", false), ("makeFlakyTest(\"", true)] {
        for part in code.split(call).skip(1) {
            let Some((name, mut rest)) = part.split_once('"') else { continue };
            let mut leaks = Vec::new();
            // Arguments are in backquotes, with commas and white space between them.
            while let Some(text) = rest.trim_start_matches([',', ' ', '\n', '\t']).strip_prefix('`')
            {
                let Some((leak, behind)) = text.split_once('`') else { break };
                leaks.push(leak.to_owned());
                rest = behind;
            }
            all.push((name.to_owned(), flaky, leaks));
        }
    }
    all
}

/// A goroutine in a program's own dump.
#[derive(Debug)]
pub struct Own {
    pub id: u64,
    pub reason: String,
    /// Function with its package, and line; innermost first.
    pub frames: Vec<(String, u64)>,
}

impl Own {
    /// What Go's test matches its expectations with: the function that the goroutine was started with, and why it waits.
    pub fn signature(&self) -> String {
        let entry = self.frames.last().map_or("", |(function, _)| function);
        format!("{}() [{}]", entry.trim_start_matches("main."), self.reason)
    }
}

/// Reads what `runtime.Stack` writes.
pub fn own_dump(lines: &[String]) -> Vec<Own> {
    let mut all: Vec<Own> = Vec::new();
    let mut function = String::new();
    for line in lines {
        if let Some((id, rest)) = line.strip_prefix("goroutine ").and_then(|l| l.split_once(" [")) {
            let words = rest.trim_end_matches("]:");
            let reason = words.split(", ").next().unwrap_or_default().to_owned();
            all.push(Own { id: id.parse().unwrap_or(0), reason, frames: Vec::new() });
        } else if let Some(place) = line.strip_prefix('\t') {
            let number =
                place.rsplit_once(':').and_then(|(_, n)| n.split(' ').next()?.parse().ok());
            let created = function.starts_with("created by ");
            if let (Some(own), Some(number), false) = (all.last_mut(), number, created) {
                let name = function.rsplit_once('(').map_or(&*function, |(name, _)| name);
                own.frames.push((name.to_owned(), number));
            }
        } else {
            function.clone_from(line);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expectations_are_read_with_their_flakiness_and_without_what_is_commented_out() {
        let test = "makeTest(\"A\",\n\t`a\\(.* \\[select\\]`,\n\t// no, `b`\n\t`c`,\n),\nmakeTest(\"B\"),\n\
                    // makeTest(\"C\", `c`),\nmakeFlakyTest(\"D\", `d`),\n";
        let some = |name: &str, flaky, leaks: &[&str]| {
            (name.to_owned(), flaky, leaks.iter().map(|l| (*l).to_owned()).collect())
        };
        assert_eq!(
            expectations(test),
            [
                some("A", false, &["a\\(.* \\[select\\]", "c"]),
                some("B", false, &[]),
                some("D", true, &["d"])
            ]
        );
    }

    #[test]
    fn a_dump_of_the_programs_own_is_read_with_its_lines() {
        let text = "goroutine 7 [chan receive, 2 minutes]:\nmain.(*x).f(0x1, {0x2})\n\t/a/b.go:17 +0x1d\n\
                    main.g.func1()\n\t/a/b.go:5 +0x2\ncreated by main.g in goroutine 1\n\t/a/b.go:4 +0x3\n";
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let own = &own_dump(&lines)[0];
        assert_eq!((own.id, &*own.signature()), (7, "g.func1() [chan receive]"));
        assert_eq!(own.frames[0], ("main.(*x).f".to_owned(), 17));
    }
}
