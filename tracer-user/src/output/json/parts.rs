//! The pieces that several schemas share. May use: view, base, stream.

use std::sync::Arc;

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::base::{Frame, FrameKind, WaitClass};
use crate::output::frames;
use crate::stream::{
    BuildInfo, Carries, ChannelState, FileSet, FutexState, Holder, LockKind, PodInfo, WaitsOn,
};
use crate::view::{ProcessView, Waited, WallTime};

/// An address: `"0xc000123450"`. A string, since JSON numbers are exact only up to 2^53.
pub struct Address(pub u64);

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&format_args!("{:#x}", self.0))
    }
}

/// A moment: RFC 3339 in UTC; null if it is outside the calendar.
pub struct Moment(pub WallTime);

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match jiff::Timestamp::from_nanosecond(i128::from(self.0.0)) {
            Ok(t) => s.collect_str(&t),
            Err(_) => s.serialize_none(),
        }
    }
}

/// Pairs as an object; of equal keys the first counts, since an object has each key once.
pub struct Pairs<'a>(pub &'a [(Box<str>, Box<str>)]);

impl Serialize for Pairs<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(None)?;
        let mut seen = std::collections::HashSet::new();
        for (key, value) in self.0 {
            if seen.insert(key) {
                map.serialize_entry(key, value)?;
            }
        }
        map.end()
    }
}

#[derive(serde::Serialize)]
struct Build<'a> {
    path: Option<&'a str>,
    module: Option<&'a str>,
    version: Option<&'a str>,
    build_id: Option<&'a str>,
    settings: Pairs<'a>,
}

impl<'a> Build<'a> {
    fn new(b: &'a BuildInfo) -> Self {
        Self {
            path: b.path.as_deref(),
            module: b.module.as_deref(),
            version: b.version.as_deref(),
            build_id: b.build_id.as_deref(),
            settings: Pairs(&b.settings),
        }
    }
}

/// A process.
#[derive(serde::Serialize)]
pub struct Process<'a> {
    pid: u32,
    exe: &'a str,
    runtime: &'a str,
    runtime_version: &'a str,
    build: Build<'a>,
    container: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<&'a PodInfo>,
    degraded: &'a [String],
}

impl<'a> Process<'a> {
    /// From its view.
    pub fn new(p: &'a ProcessView) -> Self {
        Self {
            pid: p.pid,
            exe: &p.exe,
            runtime: &p.runtime,
            runtime_version: &p.runtime_version,
            build: Build::new(&p.build),
            container: p.container.as_deref(),
            pod: p.pod.as_ref(),
            degraded: &p.degraded,
        }
    }
}

/// A place in the source: `function`, `file`, `line`; file and line are null where not known.
#[derive(serde::Serialize)]
pub struct Site<'a> {
    function: &'a str,
    file: Option<&'a str>,
    line: Option<u32>,
}

impl<'a> Site<'a> {
    /// From a frame.
    pub fn new(f: &'a Frame) -> Self {
        Self {
            function: &f.function,
            file: (!f.file.is_empty()).then_some(&*f.file),
            line: (f.line > 0).then_some(f.line),
        }
    }

    /// From a frame that may be missing.
    pub fn of(f: &'a Option<Arc<Frame>>) -> Option<Self> {
        f.as_deref().map(Self::new)
    }
}

#[derive(serde::Serialize)]
struct StackFrame<'a> {
    #[serde(flatten)]
    site: Site<'a>,
    inlined: bool,
}

/// The frames that the runtime's own dump shows, innermost first.
pub struct Stack<'a>(pub &'a [Arc<Frame>]);

impl Serialize for Stack<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let frame = |f| StackFrame { site: Site::new(f), inlined: f.kind == FrameKind::Inlined };
        s.collect_seq(frames::shown(self.0).into_iter().map(frame))
    }
}

#[derive(serde::Serialize)]
struct Channel {
    /// Null for a nil channel.
    address: Option<Address>,
    capacity: u64,
    length: u64,
    closed: bool,
    carries: Option<&'static str>,
}

impl From<&ChannelState> for Channel {
    fn from(c: &ChannelState) -> Self {
        Self {
            address: (c.address != 0).then_some(Address(c.address)),
            capacity: c.capacity,
            length: c.length,
            closed: c.closed,
            carries: carries(c.carries),
        }
    }
}

/// What a task waits on: an object with `kind`, or null.
pub struct Object<'a>(pub &'a WaitsOn);

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = match self.0 {
            WaitsOn::Unknown => return s.serialize_none(),
            _ => s.serialize_map(None)?,
        };
        match self.0 {
            WaitsOn::Unknown => {}
            WaitsOn::Channels(channels) => {
                map.serialize_entry("kind", "channels")?;
                map.serialize_entry(
                    "channels",
                    &channels.iter().map(Channel::from).collect::<Vec<_>>(),
                )?;
            }
            WaitsOn::Lock { kind, address, held } => {
                map.serialize_entry("kind", "lock")?;
                map.serialize_entry("lock", lock(*kind))?;
                map.serialize_entry("address", &Address(*address))?;
                map.serialize_entry("held", held)?;
            }
            WaitsOn::Timer { until } => {
                map.serialize_entry("kind", "timer")?;
                map.serialize_entry("until_monotonic_ns", &until.0)?;
            }
            WaitsOn::Futex(futex) => write_futex(&mut map, futex)?,
            WaitsOn::Files(set) => write_files(&mut map, set)?,
        }
        map.end()
    }
}

fn write_futex<M: SerializeMap>(map: &mut M, futex: &FutexState) -> Result<(), M::Error> {
    map.serialize_entry("kind", "futex")?;
    map.serialize_entry("futex", futex.kind.word())?;
    map.serialize_entry("of", futex.of.word())?;
    map.serialize_entry("address", &Address(futex.object))?;
    map.serialize_entry("word_address", &Address(futex.word_address))?;
    map.serialize_entry("expected", &futex.expected)?;
    map.serialize_entry("word", &futex.word)?;
    map.serialize_entry("timed", &futex.timed)?;
    map.serialize_entry("shared", &futex.shared)?;
    map.serialize_entry("holder", &futex.holder.thread().map(|tid| tid.0))?;
    let known = match futex.holder {
        Holder::Written(_) => Some("written"),
        Holder::Inferred(_) => Some("inferred"),
        Holder::Unknown | Holder::Candidates(_) => None,
    };
    map.serialize_entry("holder_known", &known)?;
    let candidates: Vec<u32> = match &futex.holder {
        Holder::Candidates(tids) => tids.iter().map(|tid| tid.0).collect(),
        _ => Vec::new(),
    };
    map.serialize_entry("candidates", &candidates)
}

#[derive(serde::Serialize)]
struct File<'a> {
    fd: u32,
    kind: &'static str,
    name: Option<&'a str>,
}

fn write_files<M: SerializeMap>(map: &mut M, set: &FileSet) -> Result<(), M::Error> {
    map.serialize_entry("kind", "files")?;
    map.serialize_entry("epoll", &set.epoll)?;
    let files = set.files.iter().map(|f| File {
        fd: f.fd,
        kind: f.kind.word(),
        name: (!f.name.is_empty()).then_some(&*f.name),
    });
    map.serialize_entry("files", &files.collect::<Vec<_>>())?;
    map.serialize_entry("more", &set.more)
}

const fn carries(carries: Carries) -> Option<&'static str> {
    match carries {
        Carries::Unknown => None,
        Carries::Signals => Some("signals"),
        Carries::Values => Some("values"),
        Carries::Ticks => Some("ticks"),
        Carries::Timeout => Some("timeout"),
        Carries::Times => Some("times"),
    }
}

const fn lock(kind: LockKind) -> &'static str {
    match kind {
        LockKind::Mutex => "mutex",
        LockKind::RwRead => "rwmutex-read",
        LockKind::RwWrite => "rwmutex-write",
        LockKind::WaitGroup => "waitgroup",
        LockKind::Cond => "cond",
        LockKind::Semaphore => "semaphore",
    }
}

/// The runtime's word, or null where it has none.
pub fn word(reason: &str) -> Option<&str> {
    (!reason.is_empty()).then_some(reason)
}

/// The word of a class.
pub fn class(class: Option<WaitClass>) -> Option<&'static str> {
    class.map(WaitClass::word)
}

/// An exact wait.
pub const fn exact(waited: Waited) -> Option<u64> {
    match waited {
        Waited::Exact(n) => Some(n.0),
        Waited::AtLeast(_) | Waited::Unknown => None,
    }
}

/// What a wait lasted at least: exact ones too, since they lasted that long.
pub const fn at_least(waited: Waited) -> Option<u64> {
    match waited.known() {
        Some(n) => Some(n.0),
        None => None,
    }
}
