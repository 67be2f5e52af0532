//! The pod that loiter itself runs in, as the downward API tells it: environment variables, or a
//! volume of files.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::cgroup::{self, PodUid};
use super::{is_name, mounts};
use crate::target::procfs::MAX_SMALL;

/// Inode of the initial cgroup namespace. Source: include/linux/proc_ns.h, `PROC_CGROUP_INIT_INO`.
const INITIAL_CGROUP_NAMESPACE: u64 = 0xefff_fffb;
/// Where the volume is unless `LOITER_PODINFO` says otherwise.
const VOLUME: &str = "/etc/podinfo";
/// Longest file of the volume that is read.
const MAX_FILE: u64 = 512;

/// Loiter's own pod; empty outside of one, and where nothing tells of it.
#[derive(Clone, Debug, Default)]
pub struct OwnPod {
    uid: Option<PodUid>,
    name: Option<Box<str>>,
    namespace: Option<Box<str>>,
    mounts: Vec<u8>,
}

impl OwnPod {
    /// From `LOITER_POD_UID`, `LOITER_POD_NAME` and `LOITER_POD_NAMESPACE`, or the files `uid`,
    /// `name` and `namespace` of the volume.
    pub fn of_environment() -> Self {
        let volume =
            std::env::var_os("LOITER_PODINFO").map_or_else(|| VOLUME.into(), PathBuf::from);
        let read = |variable: &str, file: &str| {
            std::env::var(variable).ok().or_else(|| short_file(&volume.join(file)))
        };
        Self::told(read)
    }

    fn told(read: impl Fn(&str, &str) -> Option<String>) -> Self {
        let name = |text: String| is_name(text.trim()).then(|| text.trim().into());
        let uid = read("LOITER_POD_UID", "uid").and_then(|text| PodUid::parse(text.trim()));
        let mounts = if uid.is_some() { own_mounts() } else { Vec::new() };
        Self {
            uid,
            name: read("LOITER_POD_NAME", "name").and_then(name),
            namespace: read("LOITER_POD_NAMESPACE", "namespace").and_then(name),
            mounts,
        }
    }

    /// Its UID.
    pub const fn uid(&self) -> Option<&PodUid> {
        self.uid.as_ref()
    }

    /// Its name.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Its namespace.
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// Loiter's own mounts.
    pub fn mounts(&self) -> &[u8] {
        &self.mounts
    }

    /// Whether a process with these cgroups, which name no pod, is in this pod all the same: a cgroup
    /// namespace hides the pod's part of the path.
    pub fn is_beside(&self, theirs: &[u8]) -> bool {
        if self.uid.is_none() && self.name.is_none() {
            return false;
        }
        let namespace = fs::metadata("/proc/self/ns/cgroup").map(|about| about.ino());
        if !namespace.is_ok_and(|inode| inode != INITIAL_CGROUP_NAMESPACE) {
            return false;
        }
        beside(&bounded("/proc/self/cgroup", MAX_SMALL), theirs)
    }
}

/// Seen from a container whose own cgroup is the root of its namespace (cgroup v2): what is in the
/// same container has a path below that, a sibling container of the same pod one step up.
pub(super) fn beside(own: &[u8], theirs: &[u8]) -> bool {
    let (own, theirs) = (String::from_utf8_lossy(own), String::from_utf8_lossy(theirs));
    let (Some("/"), Some(path)) = (cgroup::unified(&own), cgroup::unified(&theirs)) else {
        return false;
    };
    let mut parts = cgroup::parts(path);
    match (parts.next(), parts.next()) {
        (Some(".."), Some(sibling)) => cgroup::is_container(sibling),
        (Some(".."), None) => false,
        _ => true,
    }
}

fn own_mounts() -> Vec<u8> {
    bounded("/proc/self/mountinfo", mounts::MAX_BYTES)
}

fn bounded(path: &str, max: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    // What cannot be read tells nothing.
    let _unread = File::open(path).map(|file| file.take(max as u64).read_to_end(&mut bytes));
    bytes
}

fn short_file(path: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(path).ok()?.take(MAX_FILE).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3f1c0de5a9b84cf2e7d6a1b09c8d7e6f5a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0d";

    #[test]
    fn siblings_of_a_container_with_a_cgroup_namespace_are_in_its_pod() {
        let is = |theirs: &str| beside(b"0::/\n", theirs.as_bytes());
        assert!(is("0::/\n"));
        assert!(is("0::/workers/7\n"));
        assert!(is(&format!("0::/../cri-containerd-{ID}.scope\n")));
        assert!(is(&format!("0::/../{ID}/nested\n")));
        assert!(!is(&format!("0::/../../kubepods-pod1.slice/cri-containerd-{ID}.scope\n")));
        assert!(!is("0::/..\n") && !is("0::/../../..\n") && !is("0::/../init.scope\n") && !is(""));
    }

    #[test]
    fn without_a_namespace_of_its_own_a_path_says_nothing_of_siblings() {
        let own = format!("0::/kubelet/kubepods/x/{ID}\n");
        assert!(!beside(own.as_bytes(), b"0::/init.scope\n"));
        assert!(!beside(b"5:cpu:/\n", b"5:cpu:/\n"), "cgroup v1 has no such root");
    }

    #[test]
    fn what_the_downward_api_says_is_checked() {
        let told = |uid: &'static str, name: &'static str| {
            OwnPod::told(move |variable, _| match variable {
                "LOITER_POD_UID" => Some(uid.to_owned()),
                "LOITER_POD_NAME" => Some(name.to_owned()),
                _ => None,
            })
        };
        let pod = told("0f1e2d3c-4b5a-4697-8877-665544332211", "orders-0\n");
        assert_eq!(
            (pod.uid().is_some(), pod.name(), pod.namespace()),
            (true, Some("orders-0"), None)
        );
        let nonsense = told("$(POD_UID)", "$(POD_NAME)");
        assert_eq!((nonsense.uid(), nonsense.name()), (None, None));
    }
}
