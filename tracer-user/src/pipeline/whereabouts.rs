//! Which container and pod a process runs in, as the parts above the target layer call it.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::base::Pid;
use crate::stream::PodInfo;
use crate::target::{Locator, Pod, Whereabouts};

/// One for the whole process, as there is one host.
static LOCATOR: OnceLock<Locator> = OnceLock::new();

/// Tells where the root of the host's file system is mounted, for the kubelet's files in it; `/` if
/// it is not said. To be called before any process is opened: the first word counts.
pub fn set_host_root(root: &Path) {
    let _first_word_counts = LOCATOR.set(Locator::new(root));
}

fn locator() -> &'static Locator {
    LOCATOR.get_or_init(|| Locator::new(&PathBuf::from("/")))
}

/// Where a process runs; nothing of one that is gone.
pub fn of(pid: Pid) -> Whereabouts {
    locator().locate(pid).unwrap_or_default()
}

/// The id of its container, and its pod.
pub fn named(pid: Pid) -> (Option<Box<str>>, Option<PodInfo>) {
    let found = of(pid);
    (found.container.map(|id| id.0), found.pod.map(pod))
}

fn pod(pod: Pod) -> PodInfo {
    let Pod { uid, name, namespace, container } = pod;
    PodInfo { uid: uid.map(|uid| uid.as_str().into()), name, namespace, container }
}
