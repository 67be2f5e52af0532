//! A sidecar, a DaemonSet, and a node that is a container itself.

use serde_json::Value;

use crate::common::or_skip;
use crate::support::{Contained, Container, Pids, Pod, RIGHTS, Room, USERS, capabilities, crowded};

/// CAP_BPF, CAP_PERFMON and CAP_SYS_PTRACE by their numbers (include/uapi/linux/capability.h).
const THREE: u64 = 1 << 39 | 1 << 38 | 1 << 19;

/// Watches until the crowd is told; what is held meanwhile is exactly the three rights.
fn crowd_seen_by(container: &Container<'_>, pod: Option<&Pod>, pid: u32) -> Value {
    let (mut loiter, own) = container.watch(pod, pid);
    let found = loiter.wait_line("the crowd", |line| {
        line["schema"] == "loiter.finding/1" && line["kind"] == "crowd"
    });
    for field in ["CapEff:", "CapPrm:", "CapBnd:"] {
        assert_eq!(capabilities(own, field), THREE, "{field}");
    }
    for field in ["CapInh:", "CapAmb:"] {
        assert_eq!(capabilities(own, field), 0, "{field}");
    }
    let pid = libc::pid_t::try_from(own).unwrap();
    // SAFETY: kill takes two integers; the process is a child of this test or of one of its own.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGINT) }, 0);
    let (code, summary, _) = loiter.end();
    assert_eq!((code, &summary["ended"]), (1, &Value::from("interrupted")), "{summary}");
    let lost = summary["lost"].as_object().unwrap();
    assert!(lost.values().all(|count| count == 0), "{summary}");
    found
}

/// The right PID, and names, though the file is in no mount namespace but the program's.
fn check(found: &Value, pid: u32) {
    assert_eq!(found["process"]["pid"], pid, "{found}");
    assert_eq!(found["wait_site"]["function"], "main.(*ledger).add", "{found}");
    assert_eq!(found["spawn_site"]["function"], "main.main", "{found}");
    let file = found["wait_site"]["file"].as_str().unwrap();
    assert!(file.ends_with("mutexcrowd/main.go"), "{file}");
    assert_eq!(found["count"], 300, "{found}");
}

#[test]
fn a_sidecar_with_exactly_three_capabilities_tells_what_is_stuck_in_its_pod() {
    let program = or_skip!(crowded());
    let (pod, room) = (Pod::start(), Room::new());
    let target = Contained::start(Some(&pod), &program, Pids::Shared);
    let [here, in_pod] = target.pids[..] else { panic!("{:?}", target.pids) };
    assert_ne!(here, in_pod);
    for user in USERS {
        let container = Container { room: &room, user, rights: &RIGHTS };
        check(&crowd_seen_by(&container, Some(&pod), in_pod), in_pod);
    }
}

#[test]
fn on_a_node_a_program_in_namespaces_of_its_own_is_told_by_the_nodes_pid() {
    let program = or_skip!(crowded());
    let room = Room::new();
    let target = Contained::start(None, &program, Pids::Own);
    let [here, in_container] = target.pids[..] else { panic!("{:?}", target.pids) };
    assert_ne!(here, in_container);
    for user in USERS {
        let container = Container { room: &room, user, rights: &RIGHTS };
        check(&crowd_seen_by(&container, None, here), here);
    }
}

#[test]
fn on_a_node_that_is_a_container_itself_pids_are_the_nodes() {
    let program = or_skip!(crowded());
    let (node, room) = (Pod::start(), Room::new());
    let target = Contained::start(Some(&node), &program, Pids::Own);
    let [_, on_node, _] = target.pids[..] else { panic!("{:?}", target.pids) };
    let container = Container { room: &room, user: 0, rights: &RIGHTS };
    check(&crowd_seen_by(&container, Some(&node), on_node), on_node);
}
