//! Debug information that only the container of the program has, and links that would lead out of it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::common::loiter::run_json;
use crate::common::{GoProc, copy_program, need_root, or_skip};
use crate::support::{Room, child_of};

/// Says that it is ready, and waits for the end of its input.
const SOURCE: &str = r#"
#include <stdio.h>
#include <unistd.h>
__attribute__((noinline)) static int waits_here(void) {
    char one;
    return read(0, &one, 1) > 0;
}
int main(void) {
    puts("ready");
    fflush(stdout);
    while (waits_here()) {}
    return 0;
}
"#;

fn done(program: &str, args: &[&str]) -> Result<String, String> {
    let output =
        Command::new(program).args(args).output().map_err(|e| format!("{program}: {e}"))?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    if output.status.success() { Ok(said) } else { Err(format!("{program} {args:?}: {said}")) }
}

/// Makes `app`, stripped, and `app.debug`; gives where debuggers look for the latter.
fn built(room: &Path) -> Result<PathBuf, String> {
    let at = |name: &str| room.join(name).to_str().unwrap().to_owned();
    fs::write(at("waits.c"), SOURCE).map_err(|e| e.to_string())?;
    let flags = ["-g", "-O1", "-static", "-fno-omit-frame-pointer", "-Wl,--build-id", "-o"];
    done("gcc", &[&flags[..], &[&at("app"), &at("waits.c")]].concat())?;
    done("objcopy", &["--only-keep-debug", &at("app"), &at("app.debug")])?;
    done("strip", &[&at("app")])?;
    let notes = done("readelf", &["-n", &at("app")])?;
    let id = notes.split("Build ID: ").nth(1).ok_or("no build id")?;
    let id = id.split_whitespace().next().ok_or("no build id")?;
    Ok(format!("usr/lib/debug/.build-id/{}/{}.debug", &id[..2], &id[2..]).into())
}

/// The functions of the main thread's stack, of the program run with this as its root.
fn stack_in(root: &Path) -> String {
    let script = "exec chroot \"$0\" /app";
    let args =
        ["--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script, root.to_str().unwrap()];
    let mut process = GoProc::start(Path::new("unshare"), &args);
    process.wait_for("ready");
    let pid = child_of(process.pid()).to_string();
    let dump: Value = run_json(&["dump", &pid, "--format", "json"]);
    process.finish();
    dump["tasks"].to_string()
}

#[test]
fn debug_information_is_found_in_the_programs_own_root_and_nowhere_else() {
    or_skip!(need_root());
    let room = Room::new();
    let place = or_skip!(built(room.path()));
    let root = room.path().join("root");
    fs::create_dir_all(root.join(&place).parent().unwrap()).unwrap();
    copy_program(&room.path().join("app"), &root.join("app"));
    assert!(!stack_in(&root).contains("waits_here"), "nothing names it");

    // In the program's root this link leads nowhere; in loiter's it leads to the file.
    symlink(room.path().join("app.debug"), root.join(&place)).unwrap();
    assert!(!stack_in(&root).contains("waits_here"), "the link led out of the root");

    fs::remove_file(root.join(&place)).unwrap();
    fs::copy(room.path().join("app.debug"), root.join(&place)).unwrap();
    let stack = stack_in(&root);
    assert!(stack.contains("waits_here") && stack.contains("waits.c"), "{stack}");
}
