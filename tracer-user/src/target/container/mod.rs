//! Which container and pod a process runs in.
//!
//! The container and the pod's UID are read from its cgroup, which a process cannot forge outside
//! of what was given to it; names come from the kubelet's files on the node, or, for the pod that
//! loiter itself is in, from the downward API. What is not sure is left out: a wrong name is worse
//! than none. The hostname is therefore never taken for the pod's name, which it need not be.

mod cgroup;
mod kubelet;
mod mounts;
mod own;

use crate::base::Pid;

use super::TargetError;
use super::procfs::{self, MAX_SMALL};

pub use cgroup::{CgroupPlace, ContainerId, ContainerRuntime, PodPlace, PodUid};
pub use kubelet::{KubeletFiles, PodNames};
pub use own::OwnPod;

/// Where a process runs, as far as it is sure.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Whereabouts {
    /// The innermost container.
    pub container: Option<ContainerId>,
    /// What runs that container, where its cgroup says.
    pub runtime: Option<ContainerRuntime>,
    /// The pod.
    pub pod: Option<Pod>,
}

/// A pod, as far as it is known.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Pod {
    /// Its UID.
    pub uid: Option<PodUid>,
    /// Its name.
    pub name: Option<Box<str>>,
    /// Its namespace.
    pub namespace: Option<Box<str>>,
    /// The name that its manifest gives to the container.
    pub container: Option<Box<str>>,
}

/// Tells where processes run.
#[derive(Clone, Debug)]
pub struct Locator {
    own: OwnPod,
    kubelet: KubeletFiles,
}

impl Locator {
    /// With the kubelet's files as they are under `host_root`, and what this process's environment
    /// says of its own pod.
    pub fn new(host_root: &std::path::Path) -> Self {
        Self { own: OwnPod::of_environment(), kubelet: KubeletFiles::new(host_root) }
    }

    /// Where a process runs.
    ///
    /// # Errors
    /// If there is no such process or its cgroups cannot be read.
    pub fn locate(&self, pid: Pid) -> Result<Whereabouts, TargetError> {
        let cgroups = procfs::read(pid, "cgroup", "the cgroups", MAX_SMALL)?;
        let place = cgroup::parse(&cgroups);
        let pod = match &place.pod {
            Some(pod) if Some(&pod.uid) != self.own.uid() => Some(self.on_node(pod)),
            Some(_) => Some(self.own_pod(pid, place.pod.as_ref())),
            None if self.own.is_beside(&cgroups) => Some(self.own_pod(pid, None)),
            None => None,
        };
        Ok(Whereabouts { container: place.container, runtime: place.runtime, pod })
    }

    /// A pod of this node.
    fn on_node(&self, place: &PodPlace) -> Pod {
        let by_container = place.container.as_ref().and_then(|id| self.kubelet.by_container(id));
        // An id that leads to another pod says that one of the two is not what it looks like.
        let names = match by_container {
            Some(names) if names.uid == place.uid => Some(names),
            Some(_) => None,
            None => self.kubelet.by_uid(&place.uid),
        };
        let uid = Some(place.uid.clone());
        match names {
            Some(PodNames { name, namespace, container, .. }) => {
                Pod { uid, name: Some(name), namespace: Some(namespace), container }
            }
            None => Pod { uid, ..Pod::default() },
        }
    }

    /// The pod that loiter runs in.
    fn own_pod(&self, pid: Pid, place: Option<&PodPlace>) -> Pod {
        let on_node = place.map(|place| self.on_node(place)).unwrap_or_default();
        let container = on_node.container.or_else(|| {
            let uid = self.own.uid()?;
            let theirs = procfs::read(pid, "mountinfo", "the mounts", mounts::MAX_BYTES).ok()?;
            mounts::container_name(&theirs, self.own.mounts(), uid)
        });
        Pod {
            uid: self.own.uid().cloned(),
            name: self.own.name().map(Into::into).or(on_node.name),
            namespace: self.own.namespace().map(Into::into).or(on_node.namespace),
            container,
        }
    }
}

/// The paths of a process's cgroups, as its own hierarchy files name them.
///
/// # Errors
/// As [`Locator::locate`].
pub fn cgroups_of(pid: Pid) -> Result<Vec<Box<str>>, TargetError> {
    /// A process is in one cgroup of each hierarchy; there are fourteen.
    const MAX_LINES: usize = 64;
    let text = procfs::read(pid, "cgroup", "the cgroups", MAX_SMALL)?;
    let text = String::from_utf8_lossy(&text);
    let paths = text.lines().take(MAX_LINES).filter_map(|line| line.splitn(3, ':').nth(2));
    Ok(paths.map(Box::from).collect())
}

/// A name as Kubernetes allows it (RFC 1123, lower case): letters, digits, dots and dashes.
fn is_name(text: &str) -> bool {
    /// Longest name of an object.
    const MAX_NAME: usize = 253;
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    text.len() <= MAX_NAME
        && bytes.first().is_some_and(|&b| inner(b))
        && bytes.last().is_some_and(|&b| inner(b))
        && bytes.iter().all(|&b| inner(b) || b == b'.' || b == b'-')
}

/// Entry for fuzzing: no bytes of `cgroup`, `mountinfo` or names of files may cause a panic.
pub fn fuzz_container(bytes: &[u8]) {
    let _ = cgroup::parse(bytes);
    let text = String::from_utf8_lossy(bytes);
    let _ = kubelet::of_log_link(&text, &text);
    let _ = kubelet::of_pod_directory(&text);
    if let Some((own, theirs)) = bytes.split_at_checked(bytes.len() / 2) {
        let _ = own::beside(own, theirs);
        if let Some(uid) = PodUid::parse("0f1e2d3c-4b5a-4697-8877-665544332211") {
            let _ = mounts::container_name(theirs, own, &uid);
        }
    }
}
