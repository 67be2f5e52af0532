//! Which processes of a node `watch --all` takes, by the pods they are in.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::common::loiter::Loiter;
use crate::common::{GoProc, copy_program, or_skip};
use crate::kubelet::{DNS, ORDERS, PodCgroup, leave, node};
use crate::support::crowded;

fn start(exe: &Path) -> GoProc {
    GoProc::start_ready(exe, &["-n", "2"]).0
}

/// Processes that are watched from a line on.
fn watched(lines: &[Value]) -> BTreeSet<u64> {
    let lines = lines.iter().filter(|line| line["schema"] == "loiter.watching/1");
    lines.filter_map(|line| line["process"]["pid"].as_u64()).collect()
}

#[test]
fn processes_are_chosen_by_pod_namespace_and_container_and_the_choice_changes_on_reload() {
    let program = or_skip!(crowded());
    let (in_orders, in_dns) = (or_skip!(PodCgroup::new(&ORDERS)), or_skip!(PodCgroup::new(&DNS)));
    let dir = tempfile::tempdir().unwrap();
    let exe = dir.path().join("chosen");
    copy_program(&program, &exe);
    let (orders, dns, outside) = (start(&exe), start(&exe), start(&exe));
    in_orders.add(orders.pid());
    in_dns.add(dns.pid());
    let root = node(&[&ORDERS, &DNS]);
    let config = dir.path().join("loiter.toml");
    let write = |filter: &str| {
        let always = "all = true\nname = [\"chosen\"]\nsettle = \"50ms\"\nformat = \"jsonl\"\nevents = \"none\"\n";
        std::fs::write(&config, format!("{always}{filter}\n")).unwrap();
    };
    let both = BTreeSet::from([u64::from(orders.pid()), u64::from(dns.pid())]);
    let of = |process: &GoProc| BTreeSet::from([u64::from(process.pid())]);
    let id = format!("container = [\"{}\"]", &ORDERS.id[..12]);
    let cases = [
        ("namespace = [\"kube-*\"]", of(&dns)),
        ("pod = [\"orders-*\"]", of(&orders)),
        ("container = [\"resolver\"]", of(&dns)),
        (&*id, of(&orders)),
        ("container = [\"res*\", \"app\"]\nnamespace = [\"kube-system\"]", of(&dns)),
        ("pod = [\"*\"]", both.clone()),
    ];
    write(cases[0].0);
    let mut loiter = Loiter::start(&[
        "watch",
        "--config",
        config.to_str().unwrap(),
        "--host-root",
        root.path().to_str().unwrap(),
    ]);
    let mut now = BTreeSet::new();
    for (number, (filter, wanted)) in cases.iter().enumerate() {
        let at = loiter.lines.len();
        if number > 0 {
            let said = loiter.messages_so_far();
            write(filter);
            loiter.signal(libc::SIGHUP);
            loiter.wait_message_after(said, "was read again");
        }
        for pid in wanted.difference(&now) {
            loiter.wait_line_after(at, filter, |line| {
                line["schema"] == "loiter.watching/1" && line["process"]["pid"] == *pid
            });
        }
        now.clone_from(wanted);
    }
    let (_, _, lines) = loiter.interrupt();
    assert_eq!(watched(&lines), both, "and nothing that is in no pod: {}", outside.pid());
    // Each was let go when another filter left it out.
    let of_dns = |line: &&Value| line["process"]["pid"] == dns.pid();
    let begun = lines.iter().filter(|l| l["schema"] == "loiter.watching/1").filter(of_dns).count();
    assert_eq!(begun, 3, "{lines:?}");
    for process in [orders, dns, outside] {
        process.finish();
    }
}

#[test]
fn a_process_whose_pod_has_no_names_yet_is_taken_once_the_kubelet_has_written_them() {
    let program = or_skip!(crowded());
    let cgroup = or_skip!(PodCgroup::new(&ORDERS));
    let dir = tempfile::tempdir().unwrap();
    let exe = dir.path().join("early");
    copy_program(&program, &exe);
    let process = start(&exe);
    cgroup.add(process.pid());
    let root = node(&[]);
    let arguments = ["--settle", "50ms", "--format", "jsonl", "--events", "none", "--host-root"];
    let watch = |filter: [&str; 2]| {
        let mut all = vec!["watch", "--all", "--name", "early"];
        all.extend(filter);
        all.extend(arguments);
        all.push(root.path().to_str().unwrap());
        Loiter::start(&all)
    };
    let mut loiter = watch(["--namespace", "shop"]);
    let said = loiter.wait_message("left out");
    assert!(said.contains("early[") && said.contains("--host-root"), "{said}");
    let lines = ended(loiter);
    assert!(watched(&lines).is_empty(), "{lines:?}");

    let mut loiter = watch(["--container", "app"]);
    loiter.wait_message("watching this host");
    leave(root.path(), &ORDERS);
    let pid = process.pid();
    loiter.wait_line("it is watched", |line| line["process"]["pid"] == pid);
    ended(loiter);
    process.finish();
}

/// Ends a watch that may have watched nothing.
fn ended(mut loiter: Loiter) -> Vec<Value> {
    loiter.signal(libc::SIGINT);
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let mut count = 0;
    while loiter.more_lines(count, end) {
        count = loiter.lines.len();
    }
    std::mem::take(&mut loiter.lines)
}
