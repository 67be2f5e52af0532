//! Names of pods and containers, as the kubelet keeps them in the names of its log files.
//!
//! `/var/log/containers/POD_NAMESPACE_CONTAINER-ID.log` is a link to
//! `/var/log/pods/NAMESPACE_POD_UID/CONTAINER/N.log`. Source: kubernetes,
//! pkg/kubelet/kuberuntime/legacy.go and helpers.go.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::cgroup::{ContainerId, PodUid, is_id};
use super::is_name;

/// Most entries of one directory looked at: a node runs some hundred pods, and keeps the logs of
/// what ended for a while.
const MAX_ENTRIES: usize = 65_536;
/// Where the links are.
const LINKS: &str = "var/log/containers";
/// Where the pods' directories are.
const PODS: &str = "var/log/pods";

/// What the kubelet calls a pod.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PodNames {
    /// Its UID.
    pub uid: PodUid,
    /// Its name.
    pub name: Box<str>,
    /// Its namespace.
    pub namespace: Box<str>,
    /// The container's name, where one was asked for.
    pub container: Option<Box<str>>,
}

/// The kubelet's files on a node.
#[derive(Clone, Debug)]
pub struct KubeletFiles {
    root: PathBuf,
}

impl KubeletFiles {
    /// Those under the root of the host's file system as loiter sees it.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Whose container this is; None if the files do not say, or not clearly.
    pub fn by_container(&self, id: &ContainerId) -> Option<PodNames> {
        let end = format!("-{}.log", id.0);
        let links = self.open(LINKS).ok()?;
        let name = only(entries(&links).filter(|name| name.ends_with(&end)))?;
        let target = rustix::fs::readlinkat(&links, name.as_str(), Vec::new()).ok()?;
        of_log_link(&name, target.to_str().ok()?)
    }

    /// What the pod with this UID is called.
    pub fn by_uid(&self, uid: &PodUid) -> Option<PodNames> {
        let pods = self.open(PODS).ok()?;
        only(entries(&pods).filter_map(|name| of_pod_directory(&name)).filter(|p| p.uid == *uid))
    }

    /// Links of the host are resolved within its root, not within loiter's.
    fn open(&self, path: &str) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(&self.root, flags, Mode::empty())?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        Ok(rustix::fs::openat2(root, OsStr::new(path), flags, Mode::empty(), resolve)?)
    }
}

fn entries(directory: &OwnedFd) -> impl Iterator<Item = String> {
    let path = format!("/proc/self/fd/{}", directory.as_raw_fd());
    let entries = fs::read_dir(path).into_iter().flatten().take(MAX_ENTRIES);
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok())
}

/// The one there is; None if there are several.
fn only<T>(mut all: impl Iterator<Item = T>) -> Option<T> {
    let first = all.next()?;
    all.next().is_none().then_some(first)
}

/// `POD_NAMESPACE_CONTAINER-ID.log` and where it leads; None unless both say the same.
pub(super) fn of_log_link(name: &str, target: &str) -> Option<PodNames> {
    let mut words = name.strip_suffix(".log")?.splitn(3, '_');
    let (pod, namespace, rest) = (words.next()?, words.next()?, words.next()?);
    let (container, id) = rest.rsplit_once('-')?;
    if !is_id(id) || !is_name(container) {
        return None;
    }
    let mut parts = target.rsplit('/');
    let (_file, its_container, directory) = (parts.next()?, parts.next()?, parts.next()?);
    let names = of_pod_directory(directory)?;
    let agree = &*names.name == pod && &*names.namespace == namespace && its_container == container;
    agree.then(|| PodNames { container: Some(container.into()), ..names })
}

/// `NAMESPACE_POD_UID`; no name has an underscore.
pub(super) fn of_pod_directory(name: &str) -> Option<PodNames> {
    let mut words = name.splitn(3, '_');
    let (namespace, pod, uid) = (words.next()?, words.next()?, words.next()?);
    if !is_name(namespace) || !is_name(pod) {
        return None;
    }
    let uid = PodUid::parse(uid)?;
    Some(PodNames { uid, name: pod.into(), namespace: namespace.into(), container: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3f1c0de5a9b84cf2e7d6a1b09c8d7e6f5a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0d";
    const UID: &str = "0f1e2d3c-4b5a-4697-8877-665544332211";

    /// A node with one pod, as the kubelet leaves it.
    fn node() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let pod = root.path().join(format!("var/log/pods/shop_orders-7c9f-x2x4z_{UID}/app-server"));
        fs::create_dir_all(pod).unwrap();
        fs::create_dir_all(root.path().join(LINKS)).unwrap();
        link(&root, &format!("orders-7c9f-x2x4z_shop_app-server-{ID}.log"), "app-server");
        root
    }

    fn link(root: &tempfile::TempDir, name: &str, container: &str) {
        let target = format!("/var/log/pods/shop_orders-7c9f-x2x4z_{UID}/{container}/0.log");
        std::os::unix::fs::symlink(target, root.path().join(LINKS).join(name)).unwrap();
    }

    fn wanted(container: Option<&str>) -> PodNames {
        PodNames {
            uid: PodUid::parse(UID).unwrap(),
            name: "orders-7c9f-x2x4z".into(),
            namespace: "shop".into(),
            container: container.map(Into::into),
        }
    }

    #[test]
    fn a_container_has_the_names_of_its_log() {
        let root = node();
        let files = KubeletFiles::new(root.path());
        let found = files.by_container(&ContainerId(ID.into()));
        assert_eq!(found, Some(wanted(Some("app-server"))));
        assert_eq!(files.by_uid(&PodUid::parse(UID).unwrap()), Some(wanted(None)));
        assert_eq!(files.by_container(&ContainerId(ID.replace('3', "4").into())), None);
    }

    #[test]
    fn links_that_disagree_with_what_they_lead_to_name_nobody() {
        let root = node();
        link(&root, &format!("other_shop_app-server-{ID}.log"), "app-server");
        let files = KubeletFiles::new(root.path());
        assert_eq!(files.by_container(&ContainerId(ID.into())), None, "two names");
        let name = format!("orders-7c9f-x2x4z_shop_app-server-{ID}.log");
        let path =
            |pod: &str, container: &str| format!("/var/log/pods/{pod}_{UID}/{container}/0.log");
        assert!(of_log_link(&name, &path("shop_orders-7c9f-x2x4z", "app-server")).is_some());
        assert_eq!(of_log_link(&name, &path("shop_orders-7c9f-x2x4z", "other")), None);
        assert_eq!(of_log_link(&name, &path("shop_other", "app-server")), None);
        assert_eq!(of_log_link(&name, "0.log"), None);
    }

    #[test]
    fn links_of_the_host_stay_within_its_root() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(
            root.path().join("data/log/pods/shop_orders_0f1e2d3c-4b5a-4697-8877-665544332211"),
        )
        .unwrap();
        fs::create_dir_all(root.path().join("var")).unwrap();
        std::os::unix::fs::symlink("/data/log", root.path().join("var/log")).unwrap();
        let found = KubeletFiles::new(root.path()).by_uid(&PodUid::parse(UID).unwrap());
        assert_eq!(found.map(|names| names.name), Some("orders".into()));
    }

    #[test]
    fn what_is_no_name_of_kubernetes_is_none() {
        for name in ["Shop_orders", "shop_-a", "shop_a b", "shop", "_a", "shop_../x"] {
            assert_eq!(of_pod_directory(&format!("{name}_{UID}")), None, "{name}");
        }
    }
}
