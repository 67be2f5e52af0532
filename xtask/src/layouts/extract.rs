//! What loiter needs to know of the runtime, looked up in a program.

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::binary::Binary;

/// Whether every version has it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// All do.
    Always,
    /// Some do: the table has an `Option`.
    Sometimes,
    /// Only where `sleepWhen` is absent does it mean what loiter reads it for.
    BeforeSleepWhen,
}
use Presence::{Always, BeforeSleepWhen, Sometimes};

/// A field: its name in the table, the ways to it in the runtime (the first that exists counts),
/// and its presence.
pub struct Field {
    pub name: &'static str,
    pub paths: &'static [&'static [&'static str]],
    pub presence: Presence,
}

const fn field(
    name: &'static str,
    paths: &'static [&'static [&'static str]],
    presence: Presence,
) -> Field {
    Field { name, paths, presence }
}

/// A structure: its name in the table, its Rust type, its name in the runtime, its fields.
pub struct Structure {
    pub name: &'static str,
    pub rust: &'static str,
    pub go: &'static str,
    pub fields: &'static [Field],
}

/// Everything that goes into the table.
pub const STRUCTURES: &[Structure] = &[
    Structure {
        name: "g",
        rust: "G",
        go: "runtime.g",
        fields: &[
            field("stack", &[&["stack"]], Always),
            field("m", &[&["m"]], Always),
            field("sched", &[&["sched"]], Always),
            field("syscallsp", &[&["syscallsp"]], Always),
            field("syscallpc", &[&["syscallpc"]], Always),
            field("syscallbp", &[&["syscallbp"]], Sometimes),
            field("stktopsp", &[&["stktopsp"]], Always),
            field("param", &[&["param"]], Always),
            field("atomicstatus", &[&["atomicstatus"]], Always),
            field("goid", &[&["goid"]], Always),
            field("waitsince", &[&["waitsince"]], Always),
            field("waitreason", &[&["waitreason"]], Always),
            field("parking_on_chan", &[&["parkingOnChan"]], Always),
            field("tracking", &[&["tracking"]], Always),
            field("tracking_seq", &[&["trackingSeq"]], Always),
            field("tracking_stamp", &[&["trackingStamp"]], Sometimes),
            field("runnable_time", &[&["runnableTime"]], Always),
            field("lockedm", &[&["lockedm"]], Always),
            field("gopc", &[&["gopc"]], Always),
            field("ancestors", &[&["ancestors"]], Always),
            field("startpc", &[&["startpc"]], Always),
            field("parent_goid", &[&["parentGoid"]], Sometimes),
            field("waiting", &[&["waiting"]], Always),
            field("labels", &[&["labels"]], Always),
            field("timer", &[&["timer"]], BeforeSleepWhen),
            field("sleep_when", &[&["sleepWhen"]], Sometimes),
            field("select_done", &[&["selectDone"]], Always),
            field("coroarg", &[&["coroarg"]], Sometimes),
            field("bubble", &[&["bubble"], &["syncGroup"]], Sometimes),
            field("running_cleanups", &[&["runningCleanups"]], Sometimes),
        ],
    },
    Structure {
        name: "gobuf",
        rust: "Gobuf",
        go: "runtime.gobuf",
        fields: &[
            field("sp", &[&["sp"]], Always),
            field("pc", &[&["pc"]], Always),
            field("g", &[&["g"]], Always),
            field("bp", &[&["bp"]], Always),
        ],
    },
    Structure {
        name: "sudog",
        rust: "Sudog",
        go: "runtime.sudog",
        fields: &[
            field("g", &[&["g"]], Always),
            field("next", &[&["next"]], Always),
            field("prev", &[&["prev"]], Always),
            // Since 1.26 a pair: one pointer that the collector sees, one that it does not.
            field("elem", &[&["elem", "vu"], &["elem"]], Always),
            field("is_select", &[&["isSelect"]], Always),
            field("success", &[&["success"]], Always),
            field("parent", &[&["parent"]], Always),
            field("waitlink", &[&["waitlink"]], Always),
            field("c", &[&["c", "vu"], &["c"]], Always),
        ],
    },
    Structure {
        name: "hchan",
        rust: "Hchan",
        go: "runtime.hchan",
        fields: &[
            field("qcount", &[&["qcount"]], Always),
            field("dataqsiz", &[&["dataqsiz"]], Always),
            field("buf", &[&["buf"]], Always),
            field("elemsize", &[&["elemsize"]], Always),
            field("closed", &[&["closed"]], Always),
            field("timer", &[&["timer"]], Sometimes),
            field("elemtype", &[&["elemtype"]], Always),
            field("recvq", &[&["recvq"]], Always),
            field("sendq", &[&["sendq"]], Always),
        ],
    },
    Structure {
        name: "waitq",
        rust: "Waitq",
        go: "runtime.waitq",
        fields: &[field("first", &[&["first"]], Always), field("last", &[&["last"]], Always)],
    },
    Structure {
        name: "timer",
        rust: "Timer",
        go: "runtime.timer",
        fields: &[field("when", &[&["when"]], Always), field("period", &[&["period"]], Always)],
    },
    Structure {
        name: "m",
        rust: "M",
        go: "runtime.m",
        // Only what lies before `ncgocall`: behind it, patch releases move fields.
        fields: &[
            field("g0", &[&["g0"]], Always),
            field("procid", &[&["procid"]], Always),
            field("gsignal", &[&["gsignal"]], Always),
            field("curg", &[&["curg"]], Always),
            field("p", &[&["p"]], Always),
            field("id", &[&["id"]], Always),
        ],
    },
    Structure {
        name: "p",
        rust: "P",
        go: "runtime.p",
        fields: &[
            field("id", &[&["id"]], Always),
            field("status", &[&["status"]], Always),
            field("runqhead", &[&["runqhead"]], Always),
            field("runqtail", &[&["runqtail"]], Always),
        ],
    },
    Structure {
        name: "schedt",
        rust: "Schedt",
        go: "runtime.schedt",
        fields: &[
            field("lock", &[&["lock"]], Always),
            field("nmidle", &[&["nmidle"]], Always),
            field("mnext", &[&["mnext"]], Always),
            field("nmfreed", &[&["nmfreed"]], Always),
            field("npidle", &[&["npidle"]], Always),
            field("nmspinning", &[&["nmspinning"]], Always),
            // Since 1.26 a queue knows its size.
            field("runqsize", &[&["runqsize"], &["runq", "size"]], Always),
        ],
    },
    Structure {
        name: "moduledata",
        rust: "Moduledata",
        go: "runtime.moduledata",
        fields: &[
            field("pc_header", &[&["pcHeader"]], Always),
            field("funcnametab", &[&["funcnametab"]], Always),
            field("pclntable", &[&["pclntable"]], Always),
            field("ftab", &[&["ftab"]], Always),
            field("minpc", &[&["minpc"]], Always),
            field("maxpc", &[&["maxpc"]], Always),
            field("text", &[&["text"]], Always),
            field("etext", &[&["etext"]], Always),
            field("noptrdata", &[&["noptrdata"]], Always),
            field("end", &[&["end"]], Always),
            field("rodata", &[&["rodata"]], Always),
            field("gofunc", &[&["gofunc"]], Always),
            field("textsectmap", &[&["textsectmap"]], Always),
            field("hasmain", &[&["hasmain"]], Always),
            field("next", &[&["next"]], Always),
        ],
    },
];

/// A function that the runtime treats in a special way: its name in the table, its names in the
/// runtime, whether all versions have it.
pub const FUNC_IDS: &[(&str, &[&str], Presence)] = &[
    ("async_preempt", &["asyncPreempt"], Always),
    ("cgocallback", &["cgocallback"], Always),
    ("corostart", &["corostart"], Sometimes),
    ("debug_call", &["debugCallV2"], Always),
    ("gc_bg_mark_worker", &["gcBgMarkWorker"], Always),
    ("goexit", &["goexit"], Always),
    ("gopanic", &["gopanic"], Always),
    ("handle_async_event", &["handleAsyncEvent"], Always),
    ("mcall", &["mcall"], Always),
    ("morestack", &["morestack"], Always),
    ("mstart", &["mstart"], Always),
    ("panicwrap", &["panicwrap"], Always),
    ("run_cleanups", &["runCleanups"], Sometimes),
    ("run_finalizers", &["runFinalizers", "runfinq"], Always),
    ("runtime_main", &["runtime_main"], Always),
    ("sigpanic", &["sigpanic"], Always),
    ("systemstack", &["systemstack"], Always),
    ("wrapper", &["Wrapper", "wrapper"], Always),
];

/// States of a goroutine, which loiter takes to be the same everywhere.
const STATES: &[(&str, u64)] = &[
    ("_Gidle", 0),
    ("_Grunnable", 1),
    ("_Grunning", 2),
    ("_Gsyscall", 3),
    ("_Gwaiting", 4),
    ("_Gdead", 6),
    ("_Gcopystack", 8),
    ("_Gpreempted", 9),
    ("_Gscan", 0x1000),
];

/// Indices of tables, which loiter takes to be the same everywhere.
const TABLES: &[(&str, u64)] = &[("PCDATA_InlTreeIndex", 2), ("FUNCDATA_InlTree", 3)];

/// A structure's size, and its fields' offsets in the order of [`STRUCTURES`].
pub struct Offsets {
    pub size: u64,
    pub fields: Vec<Option<u64>>,
}

/// What one version says.
pub struct Facts {
    /// As the program states it, such as `go1.27.3`.
    pub version: String,
    pub structures: Vec<Offsets>,
    /// In the order of [`FUNC_IDS`].
    pub func_ids: Vec<Option<u64>>,
    pub wait_reasons: Vec<String>,
}

/// Looks everything up.
pub fn facts(program: &Path) -> Result<Facts> {
    let binary = Binary::read(program)?;
    let version = binary.strings("runtime.buildVersion", 1)?.remove(0);
    check_constants(&binary)?;
    Ok(Facts {
        structures: STRUCTURES.iter().map(|s| offsets(&binary, s)).collect::<Result<_>>()?,
        func_ids: FUNC_IDS
            .iter()
            .map(|(_, names, p)| func_id(&binary, names, *p))
            .collect::<Result<_>>()?,
        wait_reasons: wait_reasons(&binary)?,
        version,
    })
}

fn offsets(binary: &Binary, structure: &Structure) -> Result<Offsets> {
    let size =
        binary.structs.get(structure.go).with_context(|| format!("no {}", structure.go))?.size;
    let has_sleep_when = binary.offset(structure.go, &["sleepWhen"])?.is_some();
    let fields = structure
        .fields
        .iter()
        .map(|field| {
            for path in field.paths {
                if let Some(offset) = binary.offset(structure.go, path)? {
                    let wanted = field.presence != BeforeSleepWhen || !has_sleep_when;
                    return Ok(wanted.then_some(offset));
                }
            }
            if field.presence == Always {
                bail!("{} has no field for `{}`", structure.go, field.name);
            }
            Ok(None)
        })
        .collect::<Result<_>>()?;
    Ok(Offsets { size, fields })
}

/// Up to Go 1.20 in package runtime, later in internal/abi.
fn func_id(binary: &Binary, names: &[&str], presence: Presence) -> Result<Option<u64>> {
    for name in names {
        let spellings = [
            format!("internal/abi.FuncID_{name}"),
            format!("internal/abi.FuncID{name}"),
            format!("runtime.funcID_{name}"),
        ];
        if let Some(id) = spellings.iter().find_map(|name| binary.constants.get(name)) {
            return Ok(Some(*id));
        }
    }
    if presence == Always {
        bail!("no function id for {names:?}");
    }
    Ok(None)
}

fn check_constants(binary: &Binary) -> Result<()> {
    let same = |spellings: &[String], expected: u64| {
        let found = spellings.iter().find_map(|name| binary.constants.get(name)).copied();
        if found == Some(expected) {
            return Ok(());
        }
        bail!("{spellings:?} is {found:?}, not {expected}: loiter's code takes it to be that")
    };
    for (name, value) in STATES {
        same(&[format!("runtime.{name}")], *value)?;
    }
    for (name, value) in TABLES {
        same(&[format!("internal/abi.{name}"), format!("runtime._{name}")], *value)?;
    }
    Ok(())
}

/// The runtime's table of words; its length is that of the constants.
fn wait_reasons(binary: &Binary) -> Result<Vec<String>> {
    let last = binary
        .constants
        .iter()
        .filter(|(name, _)| name.starts_with("runtime.waitReason"))
        .map(|(_, value)| *value)
        .max()
        .context("no wait reasons")?;
    binary.strings("runtime.waitReasonStrings", last + 1)
}
