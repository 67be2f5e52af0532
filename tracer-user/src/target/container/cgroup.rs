//! Cgroup paths: container ids, what runs the container, pod UIDs.

/// Most lines of `/proc/PID/cgroup` looked at: cgroup v1 has about 14 hierarchies.
const MAX_LINES: usize = 64;
/// Most components of a path looked at: nesting is a few levels deep, each of some four parts.
const MAX_PARTS: usize = 128;
/// Hex digits of an OCI container id.
const ID_DIGITS: usize = 64;
/// Hex digits of an Amazon ECS task id; a dash and a decimal container number follow.
const ECS_DIGITS: usize = 32;
/// Hex digits of the UID of a static pod: a digest of its manifest.
const STATIC_UID_DIGITS: usize = 32;
/// Where a UUID has its dashes.
const UUID_DASHES: [usize; 4] = [8, 13, 18, 23];
/// Length of a UUID.
const UUID_LEN: usize = 36;

/// A container's id, as its runtime (containerd, CRI-O, Docker, Podman, ECS) gave it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ContainerId(pub Box<str>);

/// What runs a container.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ContainerRuntime {
    /// containerd.
    Containerd,
    /// CRI-O.
    CriO,
    /// Docker.
    Docker,
    /// Podman.
    Podman,
}

/// A pod's UID, in the form of the API: a UUID with dashes, or of a static pod 32 hex digits.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PodUid(Box<str>);

impl PodUid {
    /// From its text; systemd's form of it, with underscores, too.
    pub fn parse(text: &str) -> Option<Self> {
        if is_hex(text, STATIC_UID_DIGITS) {
            return Some(Self(text.into()));
        }
        let dashed = text.replace('_', "-");
        let fits = |(at, b): (usize, u8)| {
            if UUID_DASHES.contains(&at) { b == b'-' } else { is_hex_digit(b) }
        };
        let is_uuid = dashed.len() == UUID_LEN && dashed.bytes().enumerate().all(fits);
        is_uuid.then(|| Self(dashed.into()))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A pod, as a cgroup path names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PodPlace {
    /// Its UID.
    pub uid: PodUid,
    /// The container of the pod: another one than the innermost where containers are nested.
    pub container: Option<ContainerId>,
}

/// What the cgroups of a process say of where it runs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CgroupPlace {
    /// The innermost container.
    pub container: Option<ContainerId>,
    /// What runs it, where the path says.
    pub runtime: Option<ContainerRuntime>,
    /// The outermost pod: what is below it was named by the pod itself, where it may.
    pub pod: Option<PodPlace>,
}

/// Reads `/proc/PID/cgroup`. A line is `hierarchy:controllers:path`, both for cgroup v1 and v2, see
/// cgroups(7). Hierarchies that contradict one another tell nothing.
pub fn parse(text: &[u8]) -> CgroupPlace {
    let text = String::from_utf8_lossy(text);
    let mut found = CgroupPlace::default();
    for path in paths(&text) {
        let place = of_path(path);
        if contradict(found.pod.as_ref(), place.pod.as_ref())
            || contradict(found.container.as_ref(), place.container.as_ref())
        {
            return CgroupPlace::default();
        }
        found.pod = found.pod.or(place.pod);
        found.runtime = found.runtime.or(place.runtime);
        found.container = found.container.or(place.container);
    }
    found
}

fn contradict<T: PartialEq>(one: Option<&T>, other: Option<&T>) -> bool {
    matches!((one, other), (Some(one), Some(other)) if one != other)
}

/// The paths of all hierarchies.
fn paths(text: &str) -> impl Iterator<Item = &str> {
    text.lines().take(MAX_LINES).filter_map(|line| line.splitn(3, ':').nth(2))
}

/// The path in cgroup v2's only hierarchy.
pub(super) fn unified(text: &str) -> Option<&str> {
    text.lines().take(MAX_LINES).find_map(|line| line.strip_prefix("0::"))
}

/// The parts of a path, up to a bound.
pub(super) fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty()).take(MAX_PARTS)
}

fn of_path(path: &str) -> CgroupPlace {
    let mut found = CgroupPlace::default();
    let mut parent = "";
    for part in parts(path) {
        if found.pod.is_none()
            && let Some(uid) = pod_of(part, parent)
        {
            found = CgroupPlace {
                pod: Some(PodPlace { uid, container: None }),
                ..CgroupPlace::default()
            };
        }
        if let Some((id, runtime)) = container(part, parent) {
            if let Some(pod) = &mut found.pod
                && pod.container.is_none()
            {
                pod.container = Some(id.clone());
            }
            found.container = Some(id);
            found.runtime = runtime;
        }
        parent = part;
    }
    found
}

/// The pod of one part of a path: `kubepods-burstable-podUID.slice` of systemd, with anything before
/// (kind has `kubelet-`) and, where containerd is told the wrong driver, `:cri-containerd:ID` after;
/// or `podUID` beneath `kubepods`, `burstable` or `besteffort`, or beneath what a cgroup namespace hides.
fn pod_of(part: &str, parent: &str) -> Option<PodUid> {
    const CLASSES: [&str; 3] = ["kubepods", "burstable", "besteffort"];
    let part = part.split(':').next().unwrap_or(part);
    if let Some(slice) = part.strip_suffix(".slice") {
        let (above, uid) = slice.rsplit_once("-pod")?;
        let above = above.strip_suffix("-burstable").unwrap_or(above);
        let above = above.strip_suffix("-besteffort").unwrap_or(above);
        let is_kubelets = above == "kubepods" || above.ends_with("-kubepods");
        return PodUid::parse(uid).filter(|_| is_kubelets);
    }
    let is_beneath = CLASSES.contains(&parent) || parent == "..";
    PodUid::parse(part.strip_prefix("pod")?).filter(|_| is_beneath)
}

/// The container of one part of a path. Known forms: `docker-ID.scope`, `cri-containerd-ID.scope`,
/// `crio-ID.scope`, `libpod-ID.scope`, `SLICE:cri-containerd:ID`, `ID` alone, `TASK-NUMBER` of ECS.
/// conmon, which runs beside a container of CRI-O or Podman, is not in it.
fn container(part: &str, parent: &str) -> Option<(ContainerId, Option<ContainerRuntime>)> {
    let part = part.strip_suffix(".scope").or(part.strip_suffix(".service")).unwrap_or(part);
    if is_ecs(part) {
        return Some((ContainerId(part.into()), None));
    }
    let (before, id) = part.rsplit_once(['-', ':']).unwrap_or(("", part));
    let maker = before.rsplit(':').next().unwrap_or(before);
    if !is_hex(id, ID_DIGITS) || maker.ends_with("conmon") {
        return None;
    }
    let runtime = match (maker, parent) {
        ("cri-containerd" | "nerdctl", _) => Some(ContainerRuntime::Containerd),
        ("crio", _) => Some(ContainerRuntime::CriO),
        ("docker", _) | ("", "docker") => Some(ContainerRuntime::Docker),
        ("libpod" | "libpod-payload", _) => Some(ContainerRuntime::Podman),
        _ => None,
    };
    Some((ContainerId(id.into()), runtime))
}

fn is_ecs(part: &str) -> bool {
    part.split_once('-').is_some_and(|(task, number)| {
        is_hex(task, ECS_DIGITS)
            && !number.is_empty()
            && number.len() <= 20
            && number.bytes().all(|b| b.is_ascii_digit())
    })
}

/// Whether a part of a path is a container's and nothing else.
pub(super) fn is_container(part: &str) -> bool {
    container(part, "").is_some()
}

pub(super) fn is_id(text: &str) -> bool {
    is_hex(text, ID_DIGITS)
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(is_hex_digit)
}

const fn is_hex_digit(b: u8) -> bool {
    matches!(b, b'0'..=b'9' | b'a'..=b'f')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::container::fuzz_container;

    const ID: &str = "3f1c0de5a9b84cf2e7d6a1b09c8d7e6f5a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0d";
    const OUTER: &str = "00000de5a9b84cf2e7d6a1b09c8d7e6f5a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0d";
    const UID: &str = "0f1e2d3c-4b5a-4697-8877-665544332211";
    const SLICED: &str = "0f1e2d3c_4b5a_4697_8877_665544332211";

    fn id(text: &str) -> Option<ContainerId> {
        Some(ContainerId(text.into()))
    }

    fn uid() -> PodUid {
        PodUid::parse(UID).unwrap()
    }

    #[test]
    fn containers_outside_of_kubernetes_are_recognised_with_what_runs_them() {
        use ContainerRuntime::{Docker, Podman};
        for (path, runtime) in [
            (format!("0::/system.slice/docker-{ID}.scope"), Some(Docker)),
            (format!("12:memory:/docker/{ID}"), Some(Docker)),
            (format!("0::/machine.slice/libpod-{ID}.scope/container"), Some(Podman)),
            (
                format!("0::/user.slice/user@1000.service/user.slice/libpod-{ID}.scope"),
                Some(Podman),
            ),
            (format!("0::/../{ID}/init.scope"), None),
        ] {
            let place = parse(path.as_bytes());
            assert_eq!((place.container, place.runtime), (id(ID), runtime), "{path}");
            assert_eq!(place.pod, None, "{path}");
        }
        let task =
            "0::/ecs/0123456789abcdef0123456789abcdef/0123456789abcdef0123456789abcdef-2574512346";
        let wanted = id("0123456789abcdef0123456789abcdef-2574512346");
        assert_eq!(parse(task.as_bytes()).container, wanted);
    }

    #[test]
    fn pods_are_recognised_with_both_cgroup_drivers_and_versions() {
        use ContainerRuntime::{Containerd, CriO};
        let slices = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable";
        for (path, runtime) in [
            (format!("0::{slices}-pod{SLICED}.slice/cri-containerd-{ID}.scope"), Some(Containerd)),
            (format!("0::/kubepods.slice/kubepods-pod{SLICED}.slice/crio-{ID}.scope"), Some(CriO)),
            (
                format!("0::/kubepods.slice/kubepods-pod{SLICED}.slice/crio-{ID}.scope/container"),
                Some(CriO),
            ),
            (format!("5:cpu,cpuacct:/kubepods/besteffort/pod{UID}/{ID}"), None),
            (format!("0::/kubepods/pod{UID}/{ID}"), None),
            (
                format!(
                    "1:name=systemd:/system.slice/containerd.service/kubepods-burstable-pod{SLICED}.slice:cri-containerd:{ID}"
                ),
                Some(Containerd),
            ),
            (format!("0::/../../pod{UID}/{ID}"), None),
            (
                format!(
                    "0::/../../kubepods-besteffort-pod{SLICED}.slice/cri-containerd-{ID}.scope"
                ),
                Some(Containerd),
            ),
        ] {
            let place = parse(path.as_bytes());
            assert_eq!((place.container, place.runtime), (id(ID), runtime), "{path}");
            assert_eq!(place.pod, Some(PodPlace { uid: uid(), container: id(ID) }), "{path}");
        }
    }

    #[test]
    fn of_nested_containers_the_innermost_is_told_and_the_outermost_pod() {
        let kind = format!(
            "0::/system.slice/docker-{OUTER}.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod{SLICED}.slice/cri-containerd-{ID}.scope"
        );
        let place = parse(kind.as_bytes());
        assert_eq!(place.pod, Some(PodPlace { uid: uid(), container: id(ID) }));
        assert_eq!(place.container, id(ID));
        let docker_in_docker = format!("0::/kubepods/burstable/pod{UID}/{OUTER}/docker/{ID}");
        let place = parse(docker_in_docker.as_bytes());
        assert_eq!(place.container, id(ID));
        assert_eq!(place.pod, Some(PodPlace { uid: uid(), container: id(OUTER) }));
        let pretending = format!(
            "0::/kubepods/pod{UID}/{OUTER}/kubepods/podffffffff-4b5a-4697-8877-665544332211/{ID}"
        );
        assert_eq!(parse(pretending.as_bytes()).pod.map(|pod| pod.uid), Some(uid()));
    }

    #[test]
    fn static_pods_have_a_uid_without_dashes() {
        let uid = "0f1e2d3c4b5a46978877665544332211";
        let path = format!("0::/kubepods/burstable/pod{uid}/{ID}");
        assert_eq!(parse(path.as_bytes()).pod.map(|pod| pod.uid), PodUid::parse(uid));
    }

    #[test]
    fn what_runs_beside_a_container_is_not_in_it() {
        for path in [
            format!("0::/machine.slice/libpod-conmon-{ID}.scope"),
            format!("0::/kubepods.slice/kubepods-pod{SLICED}.slice/crio-conmon-{ID}.scope"),
        ] {
            assert_eq!(parse(path.as_bytes()).container, None, "{path}");
        }
    }

    #[test]
    fn a_process_outside_of_containers_has_none() {
        for path in ["0::/init.scope", "0::/user.slice/user-0.slice/session-3.scope", "0::/", ""] {
            assert_eq!(parse(path.as_bytes()), CgroupPlace::default());
        }
        for path in [
            format!("0::/home/pod{UID}"),
            format!("0::/some-pod{SLICED}.slice"),
            "0::/kubepods/burstable/pod1-2".to_owned(),
        ] {
            assert_eq!(parse(path.as_bytes()).pod, None, "{path}");
        }
    }

    #[test]
    fn hierarchies_that_contradict_one_another_tell_nothing() {
        let text = format!("2:cpu:/docker/{ID}\n1:memory:/docker/{OUTER}\n");
        assert_eq!(parse(text.as_bytes()), CgroupPlace::default());
        let text =
            format!("3:cpuset:/\n2:cpu:/docker/{ID}\n1:memory:/docker/{ID}\n0::/system.slice\n");
        assert_eq!(parse(text.as_bytes()).container, id(ID));
    }

    #[test]
    fn every_prefix_is_survived() {
        let text = format!("1:a:/docker/{ID}\n0::/../kubepods-pod{SLICED}.slice:x:{ID}\n");
        for end in 0..text.len() {
            fuzz_container(&text.as_bytes()[..end]);
        }
    }
}
