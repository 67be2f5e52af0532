//! uprobe_multi links (Linux 6.6 and later), which aya 0.14 does not have. They need fewer rights
//! than perf-event uprobes and come off ten times faster. aya makes the maps; the instructions are
//! taken from aya-obj, loaded and linked here. To be dropped when aya can be raised.

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd, RawFd};

use aya_obj::Object;

use crate::runtime::plan::SiteKind;

use super::sys;

/// The object with its maps filled in, from which programs are loaded.
pub struct Instructions {
    object: Object,
    license: CString,
}

impl Instructions {
    /// Parses the object and fills in the maps; `fd_of` gives a map's descriptor by name.
    ///
    /// # Errors
    /// What aya-obj says.
    pub fn relocate(bytes: &[u8], fd_of: impl Fn(&str) -> Option<RawFd>) -> Result<Self, String> {
        let mut object = Object::parse(bytes).map_err(|e| e.to_string())?;
        let sections: HashSet<usize> =
            object.functions.keys().map(|(section, _)| *section).collect();
        let maps = object.maps.clone();
        let filled = maps
            .iter()
            .map(|(name, map)| Some((name.as_str(), fd_of(name)?, map)))
            .collect::<Option<Vec<_>>>()
            .ok_or("a map is missing")?;
        object.relocate_maps(filled.into_iter(), &sections).map_err(|e| e.to_string())?;
        object.relocate_calls(&sections).map_err(|e| e.to_string())?;
        object.sanitize_functions(aya::features());
        let license = object.license.clone();
        Ok(Self { object, license })
    }

    /// Loads one program.
    ///
    /// # Errors
    /// The kernel's refusal and the verifier's log.
    pub fn load(&self, name: &str, kind: sys::ProgramKind) -> Result<OwnedFd, (io::Error, String)> {
        let missing = || (io::Error::from_raw_os_error(libc::ENOENT), String::new());
        let program = self.object.programs.get(name).ok_or_else(missing)?;
        let function = self.object.functions.get(&program.function_key()).ok_or_else(missing)?;
        sys::load_program(kind, name, &function.instructions, &self.license)
    }
}

/// The five programs, loaded for uprobe_multi, by site number.
pub struct MultiPrograms(Vec<OwnedFd>);

impl MultiPrograms {
    /// Loads them.
    ///
    /// # Errors
    /// The name of the first one refused, why, and the verifier's log.
    pub fn load(from: &Instructions) -> Result<Self, (&'static str, io::Error, String)> {
        tracer_common::ids::name::SITE_PROGRAMS
            .iter()
            .map(|name| {
                from.load(name, sys::ProgramKind::UprobeMulti)
                    .map_err(|(why, log)| (*name, why, log))
            })
            .collect::<Result<Vec<_>, _>>()
            .map(Self)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &OwnedFd> {
        self.0.iter()
    }

    /// Attaches all sites of one kind to one process; the link lives as long as the descriptor.
    ///
    /// # Errors
    /// The system call's.
    pub fn link(
        &self,
        kind: SiteKind,
        path: &CStr,
        offsets: &[u64],
        cookies: &[u64],
        pid: u32,
    ) -> io::Result<OwnedFd> {
        let program = self.0.get(usize::from(kind.number()));
        let program = program.ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
        sys::link_uprobe_multi(program.as_fd(), path, offsets, cookies, pid)
    }
}
