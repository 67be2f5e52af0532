//! The name of a container of loiter's own pod, from the file that the kubelet mounts into each:
//! `/dev/termination-log` is `…/pods/UID/containers/NAME/RANDOM` on the node.
//!
//! A target may mount what it likes in a namespace of its own. Believed is therefore only what lies
//! on the very device on which loiter's own file lies, at the place that the kubelet uses.

use super::cgroup::PodUid;
use super::is_name;

/// Most bytes read of a table of mounts.
pub const MAX_BYTES: usize = 1 << 20;
/// Most mounts looked at.
const MAX_LINES: usize = 8192;
/// Where the kubelet mounts the file unless the manifest says otherwise.
const MOUNT_POINT: &str = "/dev/termination-log";

/// A mount of that file.
struct Termination<'a> {
    device: &'a str,
    /// All before the pod's UID.
    home: &'a str,
    uid: &'a str,
    container: &'a str,
}

/// The container's name in the manifest; None if it is not sure.
pub fn container_name(theirs: &[u8], own: &[u8], pod: &PodUid) -> Option<Box<str>> {
    let (theirs, own) = (std::str::from_utf8(theirs).ok()?, std::str::from_utf8(own).ok()?);
    let (theirs, own) = (termination(theirs)?, termination(own)?);
    let sure = theirs.device == own.device
        && theirs.home == own.home
        && theirs.uid == own.uid
        && PodUid::parse(own.uid).as_ref() == Some(pod)
        && is_name(theirs.container);
    sure.then(|| theirs.container.into())
}

/// The last mount over that place is the one that is seen. Fields: proc_pid_mountinfo(5).
fn termination(mounts: &str) -> Option<Termination<'_>> {
    mounts.lines().take(MAX_LINES).filter_map(of_line).last()?
}

/// The outer None: another mount; the inner: one at that place which is not the kubelet's.
fn of_line(line: &str) -> Option<Option<Termination<'_>>> {
    let mut fields = line.split(' ').skip(2);
    let (device, root, point) = (fields.next()?, fields.next()?, fields.next()?);
    (point == MOUNT_POINT).then(|| of_root(device, root))
}

fn of_root<'a>(device: &'a str, root: &'a str) -> Option<Termination<'a>> {
    let (home, rest) = root.split_once("/pods/")?;
    let mut parts = rest.split('/');
    let (uid, word, container) = (parts.next()?, parts.next()?, parts.next()?);
    let _random = parts.next()?;
    (word == "containers" && parts.next().is_none()).then_some(Termination {
        device,
        home,
        uid,
        container,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "0f1e2d3c-4b5a-4697-8877-665544332211";

    fn table(device: &str, root: &str) -> String {
        format!(
            "700 650 0:25 / / rw,relatime - overlay overlay rw\n\
             701 700 {device} {root} /dev/termination-log rw,relatime - ext4 /dev/sda1 rw\n"
        )
    }

    fn name(theirs: &str, own: &str) -> Option<Box<str>> {
        container_name(theirs.as_bytes(), own.as_bytes(), &PodUid::parse(UID).unwrap())
    }

    #[test]
    fn a_container_of_the_same_pod_is_named() {
        let own = table("8:1", &format!("/var/lib/kubelet/pods/{UID}/containers/loiter/0a1b2c3d"));
        let theirs = table("8:1", &format!("/var/lib/kubelet/pods/{UID}/containers/app/11223344"));
        assert_eq!(name(&theirs, &own), Some("app".into()));
    }

    #[test]
    fn a_mount_that_the_target_made_itself_is_not_believed() {
        let own = table("8:1", &format!("/var/lib/kubelet/pods/{UID}/containers/loiter/0a1b2c3d"));
        for (device, root) in [
            ("0:99", format!("/var/lib/kubelet/pods/{UID}/containers/app/1")),
            ("8:1", format!("/pods/{UID}/containers/app/1")),
            (
                "8:1",
                "/var/lib/kubelet/pods/ffffffff-4b5a-4697-8877-665544332211/containers/app/1"
                    .to_owned(),
            ),
            ("8:1", format!("/var/lib/kubelet/pods/{UID}/volumes/x/pods/{UID}/containers/app/1")),
            ("8:1", format!("/var/lib/kubelet/pods/{UID}/containers/app")),
            ("8:1", format!("/var/lib/kubelet/pods/{UID}/containers/App!/1")),
        ] {
            assert_eq!(name(&table(device, &root), &own), None, "{root}");
        }
        let real = table("8:1", &format!("/var/lib/kubelet/pods/{UID}/containers/app/1"));
        let covered = format!("{real}702 701 0:99 /x /dev/termination-log rw - tmpfs tmpfs rw\n");
        assert_eq!(name(&covered, &own), None);
        assert_eq!(name(&real, ""), None);
    }

    #[test]
    fn every_prefix_is_survived() {
        let own = table("8:1", &format!("/var/lib/kubelet/pods/{UID}/containers/loiter/0a1b2c3d"));
        for end in 0..own.len() {
            let _ = name(&own[..end], &own);
        }
    }
}
