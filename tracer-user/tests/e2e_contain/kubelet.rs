//! Cgroups and files as the kubelet makes them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::{Cgroup, Controller};

/// A pod with one container.
pub struct Pod {
    /// Id of the container.
    pub id: &'static str,
    pub uid: &'static str,
    pub name: &'static str,
    pub namespace: &'static str,
    /// Name of the container.
    pub container: &'static str,
}

pub const ORDERS: Pod = Pod {
    id: "3f1c0de5a9b84cf2e7d6a1b09c8d7e6f5a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0d",
    uid: "0f1e2d3c-4b5a-4697-8877-665544332211",
    name: "orders-7c9f",
    namespace: "shop",
    container: "app",
};

pub const DNS: Pod = Pod {
    id: "aa1c0de5a9b84cf2e7d6a1b09c8d7e6f5a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0d",
    uid: "aa1e2d3c-4b5a-4697-8877-665544332211",
    name: "dns-x2x4z",
    namespace: "kube-system",
    container: "resolver",
};

/// Cgroups as the kubelet makes them, below one of a test's own; removed when dropped.
pub struct PodCgroup {
    levels: Vec<PathBuf>,
    _root: Cgroup,
}

impl PodCgroup {
    pub fn new(pod: &Pod) -> Result<PodCgroup, String> {
        let root = Cgroup::new(Controller::Freezer)?;
        let mut path = root.path().to_owned();
        let mut levels = Vec::new();
        for part in ["kubepods", "burstable", &format!("pod{}", pod.uid), pod.id] {
            path = path.join(part);
            fs::create_dir(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            levels.push(path.clone());
        }
        Ok(PodCgroup { levels, _root: root })
    }

    /// Where processes are put.
    pub fn procs(&self) -> PathBuf {
        self.levels.last().unwrap().join("cgroup.procs")
    }

    pub fn add(&self, pid: u32) {
        fs::write(self.procs(), pid.to_string()).unwrap();
    }
}

impl Drop for PodCgroup {
    fn drop(&mut self) {
        crate::support::wait_until("an empty cgroup", || {
            fs::read_to_string(self.procs()).is_ok_and(|text| text.is_empty())
        });
        for level in self.levels.iter().rev() {
            let _ = fs::remove_dir(level);
        }
    }
}

/// A node's root with what the kubelet leaves of these pods.
pub fn node(pods: &[&Pod]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for pod in pods {
        leave(root.path(), pod);
    }
    root
}

/// What the kubelet leaves of a pod.
pub fn leave(root: &Path, pod: &Pod) {
    let Pod { id, uid, name, namespace, container } = pod;
    let logs = format!("/var/log/pods/{namespace}_{name}_{uid}/{container}");
    fs::create_dir_all(root.join(&logs[1..])).unwrap();
    let links = root.join("var/log/containers");
    fs::create_dir_all(&links).unwrap();
    let link = links.join(format!("{name}_{namespace}_{container}-{id}.log"));
    std::os::unix::fs::symlink(format!("{logs}/0.log"), link).unwrap();
}
