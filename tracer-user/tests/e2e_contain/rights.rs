//! Each right is needed; a missing one is named with what helps; what is not needed is given up.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;

use crate::common::loiter::Loiter;
use crate::common::{GoProc, copy_program, or_skip};
use crate::support::{Container, RIGHTS, Room, capabilities, crowded, status};

/// The rights without one of them.
fn without(dropped: &str) -> Vec<&'static str> {
    RIGHTS.into_iter().filter(|name| *name != dropped).collect()
}

#[test]
fn each_capability_is_needed_and_a_missing_one_is_named_with_the_remedy() {
    let program = or_skip!(crowded());
    let (process, _) = GoProc::start_ready(&program, &["-n", "2"]);
    let (room, pid) = (Room::new(), process.pid().to_string());
    for dropped in RIGHTS {
        let name = format!("CAP_{}", dropped.to_uppercase());
        let rights = without(dropped);
        let container = Container { room: &room, user: 65534, rights: &rights };
        let watch = container.run(&["watch", &pid, "--for", "1s", "--budget", "off"]);
        let said = String::from_utf8_lossy(&watch.stderr).into_owned();
        assert_eq!(watch.status.code(), Some(3), "without {name}: {said}");
        assert!(said.contains(&name), "without {name}: {said}");
        let remedy = ["run loiter as root", "securityContext.capabilities"];
        assert!(remedy.iter().any(|remedy| said.contains(remedy)), "without {name}: {said}");

        let doctor = container.run(&["doctor", "--format", "json"]);
        assert_eq!(doctor.status.code(), Some(3));
        let doctor: Value = serde_json::from_slice(&doctor.stdout).unwrap();
        let rights = doctor["rights"].as_array().unwrap();
        let missing = rights.iter().filter(|check| check["state"] == "missing");
        let missing: Vec<&str> = missing.map(|check| check["name"].as_str().unwrap()).collect();
        assert_eq!(missing, [name.as_str()], "{doctor}");
    }
    process.finish();
}

#[test]
fn looks_need_the_right_to_read_memory_alone() {
    let program = or_skip!(crowded());
    let (process, _) = GoProc::start_ready(&program, &["-n", "2"]);
    let (room, pid) = (Room::new(), process.pid().to_string());
    let container = Container { room: &room, user: 65534, rights: &["sys_ptrace"] };
    let dump = container.run(&["dump", &pid, "--format", "json"]);
    let said = String::from_utf8_lossy(&dump.stderr).into_owned();
    let dump: Value =
        serde_json::from_slice(&dump.stdout).unwrap_or_else(|e| panic!("{e}: {said}"));
    assert!(dump["tasks"].as_array().unwrap().len() >= 3, "{dump}");
    process.finish();
}

#[test]
fn a_program_that_only_its_owner_may_read_takes_one_right_more_which_is_named() {
    let program = or_skip!(crowded());
    let room = Room::new();
    let own = room.path().join("own");
    copy_program(&program, &own);
    std::os::unix::fs::chown(&own, Some(65532), Some(65532)).unwrap();
    std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o500)).unwrap();
    let words =
        ["--reuid=65532", "--regid=65532", "--clear-groups", own.to_str().unwrap(), "-n", "2"];
    let (process, _) = GoProc::start_ready(Path::new("setpriv"), &words);
    let pid = process.pid().to_string();
    let container = Container { room: &room, user: 0, rights: &RIGHTS };
    let refused = container.run(&["dump", &pid]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("takes CAP_DAC_READ_SEARCH"), "{said}");
    let rights = [&RIGHTS[..], &["dac_read_search"]].concat();
    let container = Container { room: &room, user: 0, rights: &rights };
    let dump = container.run(&["dump", &pid]);
    let said = String::from_utf8_lossy(&dump.stderr).into_owned();
    assert!(dump.status.success(), "{said}");
    process.finish();
}

/// Bits of include/uapi/linux/capability.h.
const KEPT: u64 = 1 << 39 | 1 << 38 | 1 << 19 // tracing
    | 1 << 1 | 1 << 2 // files of other users
    | 1 << 40 // links to mapped files
    | 1 << 10; // ports below 1024

#[test]
fn a_watch_as_root_keeps_what_it_needs_and_follows_an_exec_with_that() {
    let program = or_skip!(crowded());
    // A shell that becomes the program: probes are put on code only after the exec.
    let script = "echo ready; read line; exec \"$0\" -n 2";
    let args = ["-c", script, program.to_str().unwrap()];
    let (mut process, _) = GoProc::start_ready(Path::new("sh"), &args);
    let mut loiter = Loiter::watch(process.pid(), &["-v", "--events", "all"]);
    loiter.wait_message("held: ");
    let held = capabilities(loiter.pid(), "CapEff:");
    assert_eq!(held & !KEPT, 0, "{held:#x}");
    assert_eq!(capabilities(loiter.pid(), "CapPrm:"), held);
    assert_eq!(capabilities(loiter.pid(), "CapBnd:") & !KEPT, 0);
    assert_eq!(status(loiter.pid(), "NoNewPrivs:"), "1");
    for thread in std::fs::read_dir(format!("/proc/{}/task", loiter.pid())).unwrap().flatten() {
        let text = std::fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        let of = text.lines().find_map(|line| line.strip_prefix("CapEff:"));
        let of = of.map(|hex| u64::from_str_radix(hex.trim(), 16).unwrap());
        assert_eq!(of.unwrap_or(held), held, "every thread");
    }
    process.ask("go on", "ready");
    loiter.wait_message("watching the new one");
    // Obeyed once the new image is opened and attached to.
    let (_, summary, _) = loiter.interrupt();
    assert!(summary["process"]["exe"].as_str().unwrap().contains("mutexcrowd"), "{summary}");
    assert_eq!(summary["mode"], "all", "{summary}");
    process.finish();
}
