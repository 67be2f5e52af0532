//! The container a process runs in, as its cgroup path names it.

use crate::base::Pid;

use super::TargetError;
use super::procfs::{self, MAX_SMALL};

/// Most lines of `/proc/PID/cgroup` looked at: cgroup v1 has about 14 hierarchies.
const MAX_LINES: usize = 64;
/// Hex digits of an OCI container id.
const ID_DIGITS: usize = 64;
/// Hex digits of an Amazon ECS task id; a dash and a decimal container number follow.
const ECS_DIGITS: usize = 32;

/// A container's id, as its runtime (containerd, CRI-O, Docker, Podman, ECS) gave it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ContainerId(pub Box<str>);

/// The container of a process; None if its cgroups name none.
///
/// # Errors
/// If there is no such process or the file cannot be read.
pub fn container_of(pid: Pid) -> Result<Option<ContainerId>, TargetError> {
    Ok(parse(&procfs::read(pid, "cgroup", "the cgroups", MAX_SMALL)?))
}

/// The paths of a process's cgroups, as its own hierarchy files name them.
///
/// # Errors
/// As [`container_of`].
pub fn cgroups_of(pid: Pid) -> Result<Vec<Box<str>>, TargetError> {
    let text = procfs::read(pid, "cgroup", "the cgroups", MAX_SMALL)?;
    let text = String::from_utf8_lossy(&text);
    let paths = text.lines().take(MAX_LINES).filter_map(|line| line.splitn(3, ':').nth(2));
    Ok(paths.map(Box::from).collect())
}

/// A line is `hierarchy:controllers:path`, both for cgroup v1 and v2, see cgroups(7).
fn parse(text: &[u8]) -> Option<ContainerId> {
    let text = String::from_utf8_lossy(text);
    text.lines().take(MAX_LINES).find_map(|line| from_path(line.splitn(3, ':').nth(2)?))
}

/// The innermost component that is a container id. Known forms: `/docker/ID`,
/// `docker-ID.scope`, `cri-containerd-ID.scope`, `crio-ID.scope`, `libpod-ID.scope`,
/// `kubepods/…/ID`, `kubepods-…:cri-containerd:ID`, `/ecs/TASK/TASK-NUMBER`.
fn from_path(path: &str) -> Option<ContainerId> {
    path.rsplit('/').find_map(|part| {
        let part = part.strip_suffix(".scope").or(part.strip_suffix(".service")).unwrap_or(part);
        if is_ecs(part) {
            return Some(ContainerId(part.into()));
        }
        let id = part.rsplit(['-', ':']).next()?;
        is_hex(id, ID_DIGITS).then(|| ContainerId(id.into()))
    })
}

fn is_ecs(part: &str) -> bool {
    part.split_once('-').is_some_and(|(task, number)| {
        is_hex(task, ECS_DIGITS)
            && !number.is_empty()
            && number.len() <= 20
            && number.bytes().all(|b| b.is_ascii_digit())
    })
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Entry for fuzzing: no bytes of `cgroup` may cause a panic.
pub fn fuzz_cgroup(bytes: &[u8]) {
    let _ = parse(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3f1c0de5a9b84cf2e7d6a1b09c8d7e6f5a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0d";

    #[test]
    fn the_known_container_runtimes_are_recognised() {
        for path in [
            format!("0::/system.slice/docker-{ID}.scope"),
            format!("12:memory:/docker/{ID}"),
            format!(
                "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/cri-containerd-{ID}.scope"
            ),
            format!("5:cpu,cpuacct:/kubepods/besteffort/pod0f1e/{ID}"),
            format!("0::/kubepods.slice/kubepods-pod9.slice/crio-{ID}.scope"),
            format!(
                "1:name=systemd:/system.slice/containerd.service/kubepods-pod7.slice:cri-containerd:{ID}"
            ),
            format!("0::/machine.slice/libpod-{ID}.scope/container"),
            format!("0::/../{ID}/init.scope"),
        ] {
            assert_eq!(parse(path.as_bytes()), Some(ContainerId(ID.into())), "{path}");
        }
        let task =
            "0::/ecs/0123456789abcdef0123456789abcdef/0123456789abcdef0123456789abcdef-2574512346";
        assert_eq!(
            parse(task.as_bytes()),
            Some(ContainerId("0123456789abcdef0123456789abcdef-2574512346".into()))
        );
    }

    #[test]
    fn a_process_outside_of_containers_has_none() {
        for path in ["0::/init.scope", "0::/user.slice/user-0.slice/session-3.scope", "0::/", ""] {
            assert_eq!(parse(path.as_bytes()), None);
        }
    }

    #[test]
    fn every_prefix_is_survived() {
        let text = format!("1:a:/docker/{ID}\n0::/kubepods/pod/{ID}\n");
        for end in 0..text.len() {
            fuzz_cgroup(&text.as_bytes()[..end]);
        }
    }
}
