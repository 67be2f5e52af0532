//! What a service manager is told, and the unit.

use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::common::go::workspace;
use crate::common::loiter::command;
use crate::common::{need_bpf, or_skip, skipped};

fn next(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 4096];
    let len = socket.recv(&mut buffer).expect("loiter tells the service manager in time");
    String::from_utf8_lossy(&buffer[..len]).into_owned()
}

/// Waits for a message that begins so, passing over those of the watchdog.
fn wait_for(socket: &UnixDatagram, word: &str) -> String {
    loop {
        let said = next(socket);
        if said.starts_with(word) {
            return said;
        }
        assert!(said.starts_with("WATCHDOG=1"), "{word} is not next: {said}");
    }
}

#[test]
fn the_service_manager_hears_of_the_start_of_life_of_reloads_and_of_the_end_in_order() {
    or_skip!(need_bpf());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    let config = dir.path().join("loiter.toml");
    std::fs::write(&config, "all = true\nname = [\"no-such-program\"]\n").unwrap();
    let mut child = command(&["watch", "--config", config.to_str().unwrap()])
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "1000000")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let signal = |signal| {
        let pid = libc::pid_t::try_from(child.id()).unwrap();
        // SAFETY: kill takes two integers; the child has not been waited for, so the pid is its.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
    };
    wait_for(&socket, "READY=1");
    for _ in 0..3 {
        wait_for(&socket, "WATCHDOG=1");
    }
    signal(libc::SIGHUP);
    let said = wait_for(&socket, "RELOADING=1");
    assert!(said.contains("MONOTONIC_USEC="), "{said}");
    wait_for(&socket, "READY=1");
    signal(libc::SIGTERM);
    wait_for(&socket, "STOPPING=1");
    assert!(child.wait().unwrap().success());
}

#[test]
fn the_unit_is_one_that_systemd_takes() {
    let unit = workspace().join("deploy/systemd/loiter.service");
    let text = std::fs::read_to_string(&unit).unwrap();
    for line in ["Type=notify", "NoNewPrivileges=yes", "ProtectSystem=strict"] {
        assert!(text.lines().any(|l| l == line), "{line}");
    }
    // It names a program that is not installed here.
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("loiter.service");
    let text = text.replace("/usr/bin/loiter", env!("CARGO_BIN_EXE_loiter"));
    std::fs::write(&copy, text).unwrap();
    let Ok(output) =
        Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&copy).output()
    else {
        return skipped("the unit", "there is no systemd-analyze (Debian: systemd)");
    };
    let said = String::from_utf8_lossy(&output.stderr);
    let about_ours: Vec<&str> = said.lines().filter(|l| l.contains("loiter.service")).collect();
    assert!(output.status.success() && about_ours.is_empty(), "{said}");
}
