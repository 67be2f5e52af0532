//! Names of pods, from cgroups as they are and files as the kubelet leaves them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::common::loiter::{command, run_json};
use crate::common::{Cgroup, Controller, GoProc, or_skip};
use crate::support::crowded;

const ID: &str = "3f1c0de5a9b84cf2e7d6a1b09c8d7e6f5a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0d";
const UID: &str = "0f1e2d3c-4b5a-4697-8877-665544332211";

/// Cgroups as the kubelet makes them, below one of a test's own; removed when dropped.
struct PodCgroup {
    levels: Vec<PathBuf>,
    _root: Cgroup,
}

impl PodCgroup {
    fn new() -> Result<PodCgroup, String> {
        let root = Cgroup::new(Controller::Freezer)?;
        let mut path = root.path().to_owned();
        let mut levels = Vec::new();
        for part in ["kubepods", "burstable", &format!("pod{UID}"), ID] {
            path = path.join(part);
            fs::create_dir(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            levels.push(path.clone());
        }
        Ok(PodCgroup { levels, _root: root })
    }

    fn add(&self, pid: u32) {
        fs::write(self.levels.last().unwrap().join("cgroup.procs"), pid.to_string()).unwrap();
    }
}

impl Drop for PodCgroup {
    fn drop(&mut self) {
        crate::support::wait_until("an empty cgroup", || {
            let procs = self.levels.last().unwrap().join("cgroup.procs");
            fs::read_to_string(procs).is_ok_and(|text| text.is_empty())
        });
        for level in self.levels.iter().rev() {
            let _ = fs::remove_dir(level);
        }
    }
}

/// What the kubelet leaves of one pod.
fn node() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let pods = format!("/var/log/pods/shop_orders-7c9f_{UID}/app");
    fs::create_dir_all(root.path().join(&pods[1..])).unwrap();
    let links = root.path().join("var/log/containers");
    fs::create_dir_all(&links).unwrap();
    let link = links.join(format!("orders-7c9f_shop_app-{ID}.log"));
    std::os::unix::fs::symlink(format!("{pods}/0.log"), link).unwrap();
    root
}

fn listed(pid: u32, root: &Path) -> Value {
    let root = root.to_str().unwrap();
    let ps = run_json(&["ps", &pid.to_string(), "--format", "json", "--host-root", root]);
    ps["processes"][0].clone()
}

#[test]
fn a_process_in_a_pods_cgroup_has_the_names_of_the_kubelets_files_and_no_others() {
    let program = or_skip!(crowded());
    let cgroup = or_skip!(PodCgroup::new());
    let (process, _) = GoProc::start_ready(&program, &["-n", "2"]);
    cgroup.add(process.pid());
    let (root, nothing) = (node(), tempfile::tempdir().unwrap());
    let row = listed(process.pid(), root.path());
    assert_eq!(row["container"], ID);
    let wanted =
        json!({"uid": UID, "name": "orders-7c9f", "namespace": "shop", "container": "app"});
    assert_eq!(row["pod"], wanted);
    let unnamed = listed(process.pid(), nothing.path());
    assert_eq!(
        unnamed["pod"],
        json!({"uid": UID, "name": null, "namespace": null, "container": null})
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
    assert_eq!(of(UID), "orders-0");
    assert_eq!(of("ffffffff-4b5a-4697-8877-665544332211"), Value::Null);

    let text = command(&["dump", &process.pid().to_string(), "--host-root"])
        .arg(root.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("pod shop/orders-7c9f, container app (3f1c0de5a9b8)"), "{text}");
    process.finish();
}
