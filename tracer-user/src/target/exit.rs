//! How a process exited, for one who is not its parent.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use crate::base::Pid;

use super::procfs::{self, MAX_SMALL};

/// The raw wait status of a process that has exited, see wait(2); None if nothing tells it: its
/// parent may have taken it before anybody could look.
pub fn exit_status(pid: Pid, pidfd: BorrowedFd<'_>) -> Option<u32> {
    // It may be taken in between; and a PID that is given out again belongs to one that was.
    of_reaped(pidfd).or_else(|| {
        let zombie = of_zombie(pid);
        of_reaped(pidfd).or(zombie)
    })
}

/// Of one whose parent has not taken its status yet.
fn of_zombie(pid: Pid) -> Option<u32> {
    parse(&procfs::read(pid, "stat", "the stat file", MAX_SMALL).ok()?)
}

/// Field 52 of `/proc/PID/stat`, the last one; 0 without the right to trace the process.
fn parse(stat: &[u8]) -> Option<u32> {
    /// The state is field 3, the first after the name.
    const EXIT_CODE: usize = 52 - 3;
    let after = stat.get(memchr::memrchr(b')', stat)?.checked_add(1)?..)?;
    let fields: Vec<&str> = std::str::from_utf8(after).ok()?.split_ascii_whitespace().collect();
    let gone = fields.first().is_some_and(|state| ["Z", "X", "x"].contains(state));
    if gone { fields.get(EXIT_CODE)?.parse().ok() } else { None }
}

/// Of one whose parent has taken its status; None if the kernel does not tell (before Linux 6.15).
fn of_reaped(pidfd: BorrowedFd<'_>) -> Option<u32> {
    /// `struct pidfd_info` in its first form: include/uapi/linux/pidfd.h.
    #[repr(C)]
    #[derive(Default)]
    struct Info {
        mask: u64,
        cgroup: u64,
        /// pid, tgid, ppid, then four pairs of user and group.
        ids: [u32; 11],
        exit_code: u32,
    }
    const INFO_EXIT: u64 = 1 << 3;
    /// `_IOWR(0xff, 11, struct pidfd_info)`.
    const GET_INFO: libc::Ioctl = 0xc040_ff0b;
    const _: () = assert!(size_of::<Info>() == 0x40);
    let mut info = Info { mask: INFO_EXIT, ..Info::default() };
    // SAFETY: the request reads and writes a struct of this layout and of the size that its number
    // holds, and the pointer is to one.
    let done = unsafe { libc::ioctl(pidfd.as_raw_fd(), GET_INFO, &raw mut info) };
    (done == 0 && info.mask & INFO_EXIT != 0).then_some(info.exit_code)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;
    use crate::target::PidFd;

    #[test]
    fn the_status_of_a_process_is_told_before_and_after_its_parent_takes_it() {
        for (script, raw) in [("exit 3", 3 << 8), ("exit 0", 0), ("kill -TERM $$", 15)] {
            let mut child = std::process::Command::new("sh").args(["-c", script]).spawn().unwrap();
            let pid = Pid(child.id());
            let handle = PidFd::open(pid).unwrap();
            while !handle.has_exited() {
                std::thread::yield_now();
            }
            assert_eq!(exit_status(pid, handle.as_fd()), Some(raw), "{script}");
            let taken = child.wait().unwrap();
            assert_eq!(u32::try_from(taken.into_raw()), Ok(raw), "{script}");
            let after = exit_status(pid, handle.as_fd());
            assert!(after.is_none_or(|after| after == raw), "{script}: {after:?}");
        }
    }

    #[test]
    fn of_a_process_that_lives_and_of_any_text_nothing_is_told() {
        let own = PidFd::open(Pid(std::process::id())).unwrap();
        assert_eq!(exit_status(Pid(std::process::id()), own.as_fd()), None);
        let text = format!("7 (a) Z) Z {}", vec!["9"; 49].join(" "));
        assert_eq!(parse(text.as_bytes()), Some(9));
        for len in 0..text.len() {
            let _whatever = parse(&text.as_bytes()[..len]);
        }
    }
}
