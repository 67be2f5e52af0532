//! What security modules say of this process: parsed from the bytes of their files.

use std::fs;

/// Longest label that is kept.
const MAX_LABEL: usize = 128;
/// Where the kernel shows the label of this process.
const LABEL: &str = "/proc/self/attr/current";
/// Where Yama shows who may read another process.
const YAMA: &str = "/proc/sys/kernel/yama/ptrace_scope";

/// A security module that confines this process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Confinement {
    /// AppArmor, by this profile.
    AppArmor {
        /// Its name.
        profile: String,
    },
    /// SELinux, in this context.
    SeLinux {
        /// Such as `system_u:system_r:container_t:s0:c1,c2`.
        context: String,
    },
}

impl Confinement {
    /// As it is now; None = not confined, or not in a way that is known.
    pub fn here() -> Option<Self> {
        label(&fs::read(LABEL).unwrap_or_default())
    }
}

/// SELinux: `user:role:type:level`, ended by a zero. AppArmor: `profile (mode)`, or `unconfined`.
fn label(bytes: &[u8]) -> Option<Confinement> {
    let text = String::from_utf8_lossy(bytes.get(..MAX_LABEL).unwrap_or(bytes));
    let text = text.trim_matches(|c: char| c == '\0' || c.is_whitespace());
    if let Some(profile) = text.strip_suffix(" (enforce)") {
        return Some(Confinement::AppArmor { profile: clean(profile) });
    }
    let kind = text.split(':').nth(2)?;
    // `kernel` and the `spc_t` of privileged containers are under no rule that matters here.
    let free = ["kernel_t", "unconfined_t", "spc_t", "init_t", "kernel"];
    (!free.contains(&kind)).then(|| Confinement::SeLinux { context: clean(text) })
}

fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Yama's `kernel.yama.ptrace_scope`; None where there is no Yama.
pub fn yama_scope() -> Option<u8> {
    fs::read_to_string(YAMA).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_containers_are_told_from_those_of_nobody() {
        assert_eq!(
            label(b"cri-containerd.apparmor.d (enforce)\n"),
            Some(Confinement::AppArmor { profile: "cri-containerd.apparmor.d".into() })
        );
        assert_eq!(
            label(b"system_u:system_r:container_t:s0:c12,c34\0"),
            Some(Confinement::SeLinux {
                context: "system_u:system_r:container_t:s0:c12,c34".into()
            })
        );
        for free in [
            &b"unconfined\n"[..],
            b"docker-default (complain)\n",
            b"kernel\0",
            b"system_u:system_r:spc_t:s0\0",
            b"unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023\0",
            b"",
        ] {
            assert_eq!(label(free), None, "{}", String::from_utf8_lossy(free));
        }
    }

    #[test]
    fn every_prefix_and_odd_bytes_are_survived() {
        let text = b"system_u:system_r:container_t:s0:c12,c34\xff\x00 (enforce)";
        for end in 0..text.len() {
            let _ = label(&text[..end]);
        }
        let _ = label(&[b':'; 4096]);
    }
}
