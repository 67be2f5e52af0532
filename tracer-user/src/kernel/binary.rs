//! The very file that will be probed, held open from the check to the attach: probes belong to a
//! file, not to a path, and paths change.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use crate::base::Pid;
use crate::runtime::plan::{ProbePlan, Site};

use super::KernelError;

/// Longest `/proc/PID/maps` that is searched: 65 530 mappings (the default limit) of 200 bytes.
const MOST_MAPS_BYTES: u64 = 16 << 20;
/// Longest instruction on x86-64.
const LONGEST_INSTRUCTION: usize = 15;

/// An open binary that a process runs.
#[derive(Debug)]
pub struct Binary {
    pid: Pid,
    file: File,
}

impl Binary {
    /// Opens the binary and makes sure that the process maps this very file.
    ///
    /// # Errors
    /// If it cannot be opened, or is another file than the process runs.
    pub fn open(pid: Pid, path: &Path) -> Result<Self, KernelError> {
        let fail = |source: io::Error| match source.raw_os_error() {
            Some(libc::ENOENT | libc::ESRCH) if !Path::new(&format!("/proc/{pid}")).exists() => {
                KernelError::Gone { pid }
            }
            _ => KernelError::Binary { pid, path: path.to_owned(), source },
        };
        let file = File::open(path).map_err(fail)?;
        let about = file.metadata().map_err(fail)?;
        if !about.is_file() {
            return Err(fail(io::Error::from_raw_os_error(libc::EINVAL)));
        }
        // The kernel's own links lead to what is mapped, whatever the paths say by now.
        let is_link_to_mapped = path == Path::new(&format!("/proc/{pid}/exe"))
            || path.starts_with(format!("/proc/{pid}/map_files"));
        if !is_link_to_mapped && !maps_inode(pid, about.ino()).map_err(fail)? {
            return Err(KernelError::NotMapped { pid, path: path.to_owned() });
        }
        Ok(Self { pid, file })
    }

    /// A path that leads to the open file, whatever happens to its name.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }

    /// [`Self::path`] for system calls.
    pub fn c_path(&self) -> CString {
        CString::new(format!("/proc/self/fd/{}", self.file.as_raw_fd())).unwrap_or_default()
    }

    /// Compares the bytes under each site with those of the plan.
    ///
    /// # Errors
    /// If one differs or cannot be read.
    pub fn check(&self, plan: &ProbePlan) -> Result<(), KernelError> {
        plan.sites.iter().try_for_each(|site| self.check_site(site))
    }

    fn check_site(&self, site: &Site) -> Result<(), KernelError> {
        let changed = |found: String| KernelError::Changed {
            pid: self.pid,
            function: site.function.clone(),
            offset: site.file_offset,
            planned: format!("{} ({})", hex(&site.bytes), site.text),
            found,
        };
        let mut room = [0; LONGEST_INSTRUCTION];
        let found = match room.get_mut(..site.bytes.len()) {
            Some(found) if !site.bytes.is_empty() => found,
            _ => return Err(changed("no instruction to compare".to_owned())),
        };
        match self.file.read_exact_at(found, site.file_offset) {
            Ok(()) if *found == *site.bytes => Ok(()),
            Ok(()) => Err(changed(hex(found))),
            Err(why) => Err(changed(format!("nothing readable ({why})"))),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

/// Whether a process has an executable mapping of the inode. Devices are not compared: overlay
/// and btrfs show another one in `maps` than in `stat`.
fn maps_inode(pid: Pid, inode: u64) -> io::Result<bool> {
    let maps = File::open(format!("/proc/{pid}/maps"))?;
    for line in BufReader::new(maps.take(MOST_MAPS_BYTES)).split(b'\n') {
        if executable_inode(&line?) == Some(inode) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// `55d0-55f0 r-xp 00001000 08:01 1234   /bin/x` -> 1234.
fn executable_inode(line: &[u8]) -> Option<u64> {
    let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let rights = words.nth(1)?;
    let inode = words.nth(2)?;
    (rights.get(2) == Some(&b'x')).then_some(())?;
    std::str::from_utf8(inode).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::plan::{Emulated, Location, Register, SiteKind};

    fn own_binary() -> Binary {
        let pid = Pid(std::process::id());
        Binary::open(pid, Path::new(&format!("/proc/{pid}/exe"))).unwrap()
    }

    fn site_at(offset: u64, bytes: &[u8]) -> ProbePlan {
        let site = Site {
            kind: SiteKind::Run,
            function: "runtime.execute".into(),
            address: offset,
            file_offset: offset,
            instruction: Emulated::Push,
            bytes: bytes.into(),
            text: "push rbp".into(),
            location: Location::Register(Register::Rax),
            why: "".into(),
        };
        ProbePlan { sites: vec![site], degraded: Vec::new() }
    }

    #[test]
    fn bytes_that_differ_from_the_plan_are_refused_with_both() {
        let binary = own_binary();
        assert!(binary.check(&site_at(0, b"\x7fELF")).is_ok());
        let refusal = binary.check(&site_at(0, b"\x7fELG")).unwrap_err().to_string();
        assert!(refusal.contains("7f 45 4c 46") && refusal.contains("7f 45 4c 47"), "{refusal}");
    }

    #[test]
    fn sites_without_bytes_or_beyond_the_file_are_refused() {
        let binary = own_binary();
        assert!(binary.check(&site_at(0, b"")).is_err());
        assert!(binary.check(&site_at(0, &[0x90; 16])).is_err());
        assert!(binary.check(&site_at(u64::MAX / 2, b"\x90")).is_err());
    }

    #[test]
    fn a_file_that_the_process_does_not_run_is_refused() {
        let pid = Pid(std::process::id());
        let other = Binary::open(pid, Path::new("/etc/passwd"));
        assert!(matches!(other, Err(KernelError::NotMapped { .. })), "{other:?}");
        let own = std::env::current_exe().unwrap();
        assert!(Binary::open(pid, &own).is_ok());
    }

    #[test]
    fn a_process_that_is_gone_is_said_to_be_gone() {
        let pid = Pid(u32::MAX);
        let gone = Binary::open(pid, Path::new("/proc/4294967295/exe"));
        assert!(matches!(gone, Err(KernelError::Gone { .. })), "{gone:?}");
    }

    #[test]
    fn only_executable_mappings_count() {
        let line = b"7f00-7f01 r-xp 00001000 08:01 1234    /bin/x y";
        assert_eq!(executable_inode(line), Some(1234));
        assert_eq!(executable_inode(b"7f00-7f01 r--p 00001000 08:01 1234 /bin/x"), None);
        assert_eq!(executable_inode(b"7f00-7f01 r-xp"), None);
        for len in 0..line.len() {
            let _whatever = executable_inode(&line[..len]);
        }
    }
}
