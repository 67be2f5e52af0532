//! Whether a process runs Go, which Go, and where its program lies: as the executable, or as a
//! shared object that another program has loaded (`-buildmode=c-shared`).
//!
//! Cheap enough to ask of every process of a host: most are settled by some kilobytes of headers,
//! and a file that many processes map is looked at once.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use crate::base::Pid;
use crate::object::buildinfo::{self, BuildInfoError, GoBuild};
use crate::object::elf::{ElfError, Image};
use crate::stream::BuildInfo;
use crate::target::{
    ExeLink, FileAt, FileId, FileKey, Mapping, Maps, ProcessStat, TargetError, exe_link, stat,
};

use super::build::build_info;
use super::layout::{Layout, UnsupportedVersion};

/// Most verdicts on files remembered; beyond it the memory starts anew.
const MAX_REMEMBERED: usize = 1 << 14;
/// Most shared objects of a process looked at.
const MAX_OBJECTS: usize = 1024;
/// The kernel maps whole pages.
const PAGE: u64 = 4096;

/// Why a process cannot be traced as Go.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DetectError {
    /// The process or its files.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// Neither the executable nor a shared object was made by Go.
    #[error(
        "process {pid} ({exe}) is not a Go program: neither it nor a library it has loaded holds Go build information"
    )]
    NotGo {
        /// Which process.
        pid: Pid,
        /// What it runs.
        exe: Box<str>,
    },
    /// Compressed by an executable packer.
    #[error(
        "process {pid} ({exe}) was packed with UPX, which removes what is needed to read its goroutines: run the unpacked program (`upx -d`)"
    )]
    Packed {
        /// Which process.
        pid: Pid,
        /// What it runs.
        exe: Box<str>,
    },
    /// For another processor, or not a program.
    #[error("process {pid} ({exe}): {reason}")]
    Format {
        /// Which process.
        pid: Pid,
        /// What it runs.
        exe: Box<str>,
        /// What is wrong with the file.
        reason: ElfError,
    },
    /// A version that is not known.
    #[error("process {pid} ({exe}): {reason}")]
    Version {
        /// Which process.
        pid: Pid,
        /// What it runs.
        exe: Box<str>,
        /// Which one, what is supported, and the remedy.
        reason: UnsupportedVersion,
    },
    /// The build information makes no sense.
    #[error("process {pid} ({exe}): {reason}")]
    BuildInfo {
        /// Which process.
        pid: Pid,
        /// What it runs.
        exe: Box<str>,
        /// What is wrong with it.
        reason: BuildInfoError,
    },
    /// The file is not where the process has mapped it.
    #[error("process {pid} ({exe}): where its program was loaded cannot be told from its mappings")]
    NotMapped {
        /// Which process.
        pid: Pid,
        /// What it runs.
        exe: Box<str>,
    },
}

/// How the Go program came into the process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HostedAs {
    /// It is the executable.
    Executable,
    /// It is a shared object.
    SharedObject,
}

/// A process that runs Go.
#[derive(Debug)]
pub struct GoProgram {
    /// The process.
    pub stat: ProcessStat,
    /// The file that holds the Go program, open.
    pub file: FileAt,
    /// Its path, as the process's own mount namespace has it.
    pub path: PathBuf,
    /// Its headers.
    pub image: Image,
    /// What was added to its addresses when it was loaded.
    pub bias: u64,
    /// How it came there.
    pub hosted_as: HostedAs,
    /// The version it states, such as `go1.27.3`.
    pub version: Box<str>,
    /// How that version lays out its structures.
    pub layout: &'static Layout,
    /// What it says of its build.
    pub build: BuildInfo,
    /// Why what is told of it may be wrong or less than complete.
    pub degraded: Vec<Box<str>>,
}

/// What a file holds.
#[derive(Clone, Debug)]
enum Verdict {
    Go(Box<GoBuild>),
    NotGo,
    Packed,
    Format(ElfError),
    BuildInfo(BuildInfoError),
}

/// Asks processes whether they run Go, and remembers what it learned of files. For one pass over
/// the processes of a host, or one process.
#[derive(Clone, Debug, Default)]
pub struct Detector {
    assumed: Option<u16>,
    files: HashMap<FileId, Verdict>,
    /// Shared objects without Go, by what `maps` says: they need not be opened again.
    without_go: HashSet<FileKey>,
}

impl Detector {
    /// Refuses versions that are not known.
    pub fn new() -> Self {
        Self::default()
    }

    /// Treats every Go program as one of version 1.`minor` (`--assume-go`), which must be known.
    #[must_use]
    pub const fn assuming(mut self, minor: u16) -> Self {
        self.assumed = Some(minor);
        self
    }

    /// Looks at one process.
    ///
    /// # Errors
    /// If it does not run Go that can be traced; says why.
    pub fn detect(&mut self, pid: Pid) -> Result<GoProgram, DetectError> {
        let stat = stat(pid)?;
        if stat.kernel_thread {
            return Err(TargetError::KernelThread { pid }.into());
        }
        let link = exe_link(pid).map_err(TargetError::meanwhile)?;
        let exe: Box<str> = link.path.to_string_lossy().into();
        let file = FileAt::exe(pid).map_err(TargetError::meanwhile)?;
        let verdict = self.verdict(&file);
        if let Verdict::Go(build) = verdict {
            let maps = Maps::of(pid).map_err(TargetError::meanwhile)?;
            let own = code_of(&maps, &file, &link);
            return self.program(
                Found { stat, exe, file, path: link.path, build, hosted_as: HostedAs::Executable },
                &own,
            );
        }
        match self.shared_object(&stat, &exe)? {
            Some(program) => Ok(program),
            None => Err(refusal(pid, exe, verdict)),
        }
    }

    /// A Go program among the shared objects of a process.
    fn shared_object(
        &mut self,
        stat: &ProcessStat,
        exe: &str,
    ) -> Result<Option<GoProgram>, DetectError> {
        let maps = match Maps::of(stat.pid) {
            Ok(maps) => maps,
            Err(error @ TargetError::NoSuchProcess { .. }) => return Err(error.meanwhile().into()),
            Err(error) => return Err(error.into()),
        };
        for mapping in maps.programs().into_iter().take(MAX_OBJECTS) {
            let Some(key) = mapping.file.filter(|key| !self.without_go.contains(key)) else {
                continue;
            };
            let Ok(file) = FileAt::mapped(stat.pid, mapping) else { continue };
            let Verdict::Go(build) = self.verdict(&file) else {
                self.without_go.insert(key);
                continue;
            };
            let own: Vec<&Mapping> = maps.of_file(key).filter(|m| m.perms.execute).collect();
            let found = Found {
                stat: stat.clone(),
                exe: exe.into(),
                file,
                path: mapping.path.to_path_buf(),
                build,
                hosted_as: HostedAs::SharedObject,
            };
            return self.program(found, &own).map(Some);
        }
        Ok(None)
    }

    fn program(&self, found: Found, mappings: &[&Mapping]) -> Result<GoProgram, DetectError> {
        let Found { stat, exe, file, path, build, hosted_as } = found;
        let pid = stat.pid;
        let image = Image::parse(&file).map_err(|reason| DetectError::Format {
            pid,
            exe: exe.clone(),
            reason,
        })?;
        let (layout, degraded) = self
            .layout(&build.version)
            .map_err(|reason| DetectError::Version { pid, exe: exe.clone(), reason })?;
        let bias = common_bias(&image, mappings).ok_or(DetectError::NotMapped { pid, exe })?;
        let ids = image.build_ids(&file);
        Ok(GoProgram {
            stat,
            path,
            bias,
            hosted_as,
            version: build.version.clone(),
            layout,
            build: build_info(&build, &ids),
            degraded,
            image,
            file,
        })
    }

    fn layout(
        &self,
        version: &str,
    ) -> Result<(&'static Layout, Vec<Box<str>>), UnsupportedVersion> {
        let known = Layout::for_version(version);
        let Some(assumed) = self.assumed.and_then(Layout::for_minor) else {
            return known.map(|layout| (layout, Vec::new()));
        };
        if known.is_ok_and(|layout| layout.minor == assumed.minor) {
            return Ok((assumed, Vec::new()));
        }
        let shown: String = version.chars().filter(|c| !c.is_control()).collect();
        let why = format!(
            "the binary states version `{shown}`, and is read as Go 1.{} by request: what is told of it may be wrong",
            assumed.minor
        );
        Ok((assumed, vec![why.into()]))
    }

    fn verdict(&mut self, file: &FileAt) -> Verdict {
        if let Some(known) = self.files.get(&file.id()) {
            return known.clone();
        }
        if self.files.len() >= MAX_REMEMBERED {
            self.files.clear();
        }
        let verdict = judge(file);
        self.files.insert(file.id(), verdict.clone());
        verdict
    }
}

/// A Go program whose place in the process is still to be told.
struct Found {
    stat: ProcessStat,
    exe: Box<str>,
    file: FileAt,
    path: PathBuf,
    build: Box<GoBuild>,
    hosted_as: HostedAs,
}

fn judge(file: &FileAt) -> Verdict {
    let image = match Image::parse(file) {
        Ok(image) => image,
        Err(ElfError::NotElf) => return Verdict::NotGo,
        Err(reason) => return Verdict::Format(reason),
    };
    match buildinfo::read(&image, file) {
        Ok(build) => Verdict::Go(Box::new(build)),
        Err(BuildInfoError::NotGo) if is_packed(file) => Verdict::Packed,
        Err(BuildInfoError::NotGo) => Verdict::NotGo,
        Err(reason) => Verdict::BuildInfo(reason),
    }
}

/// UPX writes its magic behind the program headers (`l_info` in its `src/stub/src/include/linux.h`).
fn is_packed(file: &FileAt) -> bool {
    let mut start = [0; 512];
    let len = usize::try_from(file.len()).unwrap_or(usize::MAX).min(start.len());
    let Some(read) = start.get_mut(..len) else { return false };
    file.read_at(0, read).is_ok() && read.windows(4).any(|w| w == b"UPX!")
}

fn refusal(pid: Pid, exe: Box<str>, verdict: Verdict) -> DetectError {
    match verdict {
        Verdict::Packed => DetectError::Packed { pid, exe },
        Verdict::Format(reason) => DetectError::Format { pid, exe, reason },
        Verdict::BuildInfo(reason) => DetectError::BuildInfo { pid, exe, reason },
        Verdict::NotGo | Verdict::Go(_) => DetectError::NotGo { pid, exe },
    }
}

/// The mappings of the executable's code: those with its inode. Some file systems (overlayfs with
/// `xino`) show another inode in `maps` than for the file: then those with its path.
fn code_of<'m>(maps: &'m Maps, file: &FileAt, link: &ExeLink) -> Vec<&'m Mapping> {
    let code = || maps.iter().filter(|m| m.perms.execute);
    let same: Vec<&Mapping> =
        code().filter(|m| m.file.is_some_and(|f| f.inode == file.id().inode)).collect();
    if !same.is_empty() {
        return same;
    }
    code().filter(|m| *m.path == *link.path && m.deleted == link.deleted).collect()
}

/// The bias that all mappings of the code agree on.
fn common_bias(image: &Image, mappings: &[&Mapping]) -> Option<u64> {
    let mut biases = mappings.iter().filter_map(|mapping| bias_of(image, mapping));
    let first = biases.next()?;
    biases.all(|other| other == first).then_some(first)
}

/// Only segments of code are asked: another may begin in the same page of the file.
fn bias_of(image: &Image, mapping: &Mapping) -> Option<u64> {
    image.segments().iter().filter(|s| s.executable).find_map(|s| {
        let first_page = s.file_offset & !(PAGE - 1);
        let within = mapping.offset.checked_sub(first_page)?;
        let inside = mapping.offset < s.file_offset.checked_add(s.file_size)?;
        let linked = (s.vaddr & !(PAGE - 1)).wrapping_add(within);
        inside.then(|| mapping.start.wrapping_sub(linked))
    })
}
