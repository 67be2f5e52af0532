//! What forbids tracing is recognised, and told with its remedy.

use std::process::Output;

use serde_json::Value;

use crate::common::confined::{filtered, in_namespaces};
use crate::common::loiter::command;
use crate::common::{need_bpf, or_skip};
use crate::support::Room;

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn doctor(output: &Output) -> Value {
    let why = || format!("{} {}", String::from_utf8_lossy(&output.stdout), said(output));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", why()))
}

/// The check of this name.
fn check<'a>(doctor: &'a Value, name: &str) -> &'a Value {
    let parts = ["features", "rights"].into_iter().filter_map(|part| doctor[part].as_array());
    let mut all = parts.flatten();
    all.find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name}: {doctor}"))
}

fn is_in(doctor: &Value, word: &str) -> bool {
    doctor["surroundings"].as_array().unwrap().iter().any(|one| one == word)
}

#[test]
fn a_user_namespace_is_told_with_host_users() {
    or_skip!(need_bpf());
    let which = ["--user", "--map-root-user"];
    let asked = in_namespaces(&which, "exec $0 doctor --format json");
    assert_eq!(asked.status.code(), Some(3), "{}", said(&asked));
    let doctor = doctor(&asked);
    assert!(is_in(&doctor, "user namespace"), "{doctor}");
    let found = check(&doctor, "user namespace");
    assert_eq!(found["state"], "missing");
    assert!(found["remedy"].as_str().unwrap().contains("hostUsers: true"), "{found}");

    let watched =
        in_namespaces(&which, "sleep 60 & $0 watch $! --for 1s; code=$?; kill $!; exit $code");
    assert_eq!(watched.status.code(), Some(3), "{}", said(&watched));
    assert!(said(&watched).contains("hostUsers: true"), "{}", said(&watched));
}

#[test]
fn a_seccomp_filter_is_told_with_the_profile() {
    or_skip!(need_bpf());
    let filtered = |args: &[&str]| filtered(libc::SYS_bpf, libc::EPERM, args);
    let asked = filtered(&["doctor", "--format", "json"]);
    assert_eq!(asked.status.code(), Some(3), "{}", said(&asked));
    let doctor = doctor(&asked);
    assert!(is_in(&doctor, "seccomp filter"), "{doctor}");
    let ring = check(&doctor, "BPF ring buffer");
    assert_eq!(ring["state"], "missing", "{ring}");
    assert!(ring.to_string().contains("seccompProfile: Unconfined"), "{ring}");

    let own = std::process::id().to_string();
    let watched = filtered(&["watch", &own, "--for", "1s"]);
    assert_eq!(watched.status.code(), Some(3), "{}", said(&watched));
    assert!(said(&watched).contains("a seccomp filter is active"), "{}", said(&watched));
}

#[test]
fn without_the_nodes_pid_namespace_a_process_is_missing_and_host_pid_is_named() {
    or_skip!(need_bpf());
    let which = ["--pid", "--fork", "--mount-proc", "--kill-child"];
    let watched = in_namespaces(&which, "$0 watch 1000000 --for 1s");
    assert_eq!(watched.status.code(), Some(3));
    let text = said(&watched);
    assert!(text.contains("shareProcessNamespace or hostPID"), "{text}");
    let asked = in_namespaces(&which, "$0 doctor --format json");
    let doctor = doctor(&asked);
    assert!(is_in(&doctor, "PID namespace of a container"), "{doctor}");
    let found = check(&doctor, "PID namespace");
    assert_eq!(found["state"], "without");
    assert!(found["remedy"].as_str().unwrap().contains("hostPID"), "{found}");
}

#[test]
fn a_kernel_without_btf_is_told_and_costs_the_events_that_need_it() {
    or_skip!(need_bpf());
    let script = "mount -t tmpfs none /sys/kernel/btf && exec $0 doctor --format json";
    let asked = in_namespaces(&["--mount", "--propagation", "private"], script);
    assert_eq!(asked.status.code(), Some(0), "{}", said(&asked));
    let doctor = doctor(&asked);
    assert_eq!(check(&doctor, "BTF")["state"], "without", "{doctor}");
    assert_eq!(check(&doctor, "BPF ring buffer")["state"], "ok", "{doctor}");
}

/// Files of other kernels in the place of this one's.
#[test]
fn gvisor_and_a_locked_kernel_are_recognised_by_their_files() {
    or_skip!(need_bpf());
    let room = Room::new();
    let version = room.path().join("version");
    std::fs::write(&version, "Linux version 4.4.0 #1 SMP Sun Jan 10 15:06:54 PST 2016\n").unwrap();
    let which = ["--mount", "--propagation", "private"];
    let script =
        format!("mount --bind {} /proc/version && exec $0 doctor --format json", version.display());
    let asked = in_namespaces(&which, &script);
    assert_eq!(asked.status.code(), Some(3));
    let inside = doctor(&asked);
    assert!(is_in(&inside, "gVisor sandbox"), "{inside}");
    assert!(check(&inside, "kernel").to_string().contains("on the host, outside of the sandbox"));

    let script = "mount -t tmpfs none /sys/kernel/security && \
                  echo 'none integrity [confidentiality]' > /sys/kernel/security/lockdown && \
                  exec $0 doctor --format json";
    let locked = doctor(&in_namespaces(&which, script));
    assert!(is_in(&locked, "lockdown: confidentiality"), "{locked}");
}

#[test]
fn a_plain_host_has_nothing_of_that() {
    or_skip!(need_bpf());
    let doctor = doctor(&command(&["doctor", "--format", "json"]).output().unwrap());
    let tier = check(&doctor, "tier");
    assert_eq!(tier["state"], "ok");
    let text = tier.to_string();
    assert!(text.contains("CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE"), "{text}");
    assert!(!is_in(&doctor, "user namespace"), "{doctor}");
}
