//! Names of pods, from cgroups as they are and files as the kubelet leaves them.

use std::path::Path;

use serde_json::{Value, json};

use crate::common::loiter::{command, run_json};
use crate::common::{GoProc, or_skip};
use crate::kubelet::{ORDERS, PodCgroup, node};
use crate::support::crowded;

fn listed(pid: u32, root: &Path) -> Value {
    let root = root.to_str().unwrap();
    let ps = run_json(&["ps", &pid.to_string(), "--format", "json", "--host-root", root]);
    ps["processes"][0].clone()
}

#[test]
fn a_process_in_a_pods_cgroup_has_the_names_of_the_kubelets_files_and_no_others() {
    let program = or_skip!(crowded());
    let cgroup = or_skip!(PodCgroup::new(&ORDERS));
    let (process, _) = GoProc::start_ready(&program, &["-n", "2"]);
    cgroup.add(process.pid());
    let (root, nothing) = (node(&[&ORDERS]), tempfile::tempdir().unwrap());
    let row = listed(process.pid(), root.path());
    assert_eq!(row["container"], ORDERS.id);
    let wanted =
        json!({"uid": ORDERS.uid, "name": "orders-7c9f", "namespace": "shop", "container": "app"});
    assert_eq!(row["pod"], wanted);
    let unnamed = listed(process.pid(), nothing.path());
    assert_eq!(
        unnamed["pod"],
        json!({"uid": ORDERS.uid, "name": null, "namespace": null, "container": null})
    );

    // The downward API speaks of loiter's own pod, and of no other.
    let of = |uid: &str| {
        let args = ["dump", &process.pid().to_string(), "--format", "json", "--host-root"];
        let mut dump = command(&args);
        dump.arg(nothing.path()).env("LOITER_POD_UID", uid);
        dump.env("LOITER_POD_NAME", "orders-0").env("LOITER_POD_NAMESPACE", "shop");
        let dump: Value = serde_json::from_slice(&dump.output().unwrap().stdout).unwrap();
        dump["process"]["pod"]["name"].clone()
    };
    assert_eq!(of(ORDERS.uid), "orders-0");
    assert_eq!(of("ffffffff-4b5a-4697-8877-665544332211"), Value::Null);

    let text = command(&["dump", &process.pid().to_string(), "--host-root"])
        .arg(root.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("pod shop/orders-7c9f, container app (3f1c0de5a9b8)"), "{text}");
    process.finish();
}
