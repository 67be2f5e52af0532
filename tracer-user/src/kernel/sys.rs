//! The few commands of bpf(2) that aya 0.14 lacks: programs for uprobe_multi, their links, batch
//! lookups, and the count of missed runs. To be dropped when aya can be raised.
//!
//! Source of the layouts: include/uapi/linux/bpf.h, `union bpf_attr` and `struct bpf_prog_info`.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use aya_obj::generated::{bpf_insn, bpf_prog_info};

const MAP_CREATE: u32 = 0;
const PROG_LOAD: u32 = 5;
const OBJ_GET_INFO_BY_FD: u32 = 15;
const RAW_TRACEPOINT_OPEN: u32 = 17;
const MAP_LOOKUP_BATCH: u32 = 24;
const LINK_CREATE: u32 = 28;
const ITER_CREATE: u32 = 33;

const MAP_TYPE_RINGBUF: u32 = 27;
const PROG_TYPE_KPROBE: u32 = 2;
const PROG_TYPE_TRACING: u32 = 26;
const TRACE_RAW_TP: u32 = 23;
const TRACE_ITER: u32 = 28;
const TRACE_UPROBE_MULTI: u32 = 48;

/// Room for the verifier's log, asked for only after a refusal. Enough for the end of it.
const LOG_BYTES: usize = 1 << 20;

/// What kind of program to load.
#[derive(Clone, Copy, Debug)]
pub enum ProgramKind {
    /// For a uprobe_multi link.
    UprobeMulti,
    /// For a typed tracepoint: BTF id of its `btf_trace_...` typedef.
    Tracepoint {
        /// The id.
        btf_id: u32,
    },
    /// For an iterator: BTF id of its `bpf_iter_...` function.
    Iterator {
        /// The id.
        btf_id: u32,
    },
}

#[repr(C)]
#[derive(Default)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
}

#[repr(C)]
#[derive(Default)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
    prog_btf_fd: u32,
    func_info_rec_size: u32,
    func_info: u64,
    func_info_cnt: u32,
    line_info_rec_size: u32,
    line_info: u64,
    line_info_cnt: u32,
    attach_btf_id: u32,
    attach_prog_fd: u32,
    core_relo_cnt: u32,
}

#[repr(C)]
#[derive(Default)]
struct LinkCreate {
    prog_fd: u32,
    target_fd: u32,
    attach_type: u32,
    flags: u32,
    path: u64,
    offsets: u64,
    ref_ctr_offsets: u64,
    cookies: u64,
    cnt: u32,
    uprobe_flags: u32,
    pid: u32,
    pad: u32,
}

/// `link_create` with its `iter_info`.
#[repr(C)]
#[derive(Default)]
struct LinkIterator {
    prog_fd: u32,
    target_fd: u32,
    attach_type: u32,
    flags: u32,
    info: u64,
    info_len: u32,
    pad: u32,
}

/// `bpf_iter_link_info` with its `task`, as long as the union is.
#[repr(C)]
#[derive(Default)]
struct TaskIterator {
    tid: u32,
    pid: u32,
    pid_fd: u32,
    pad: u32,
}

#[repr(C)]
#[derive(Default)]
struct IterCreate {
    link_fd: u32,
    flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct RawTracepointOpen {
    name: u64,
    prog_fd: u32,
    pad: u32,
    cookie: u64,
}

#[repr(C)]
#[derive(Default)]
struct InfoByFd {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

#[repr(C)]
#[derive(Default)]
struct MapBatch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

const _: () = {
    use std::mem::offset_of;
    assert!(offset_of!(ProgLoad, expected_attach_type) == 68);
    assert!(offset_of!(ProgLoad, attach_btf_id) == 108);
    assert!(offset_of!(LinkCreate, cookies) == 40 && offset_of!(LinkCreate, pid) == 56);
    assert!(offset_of!(MapBatch, map_fd) == 36);
};

/// bpf(2). The kernel takes a shorter attribute than its own as if the rest were zero.
fn bpf<T>(command: u32, attribute: &mut T) -> io::Result<i32> {
    // SAFETY: `attribute` is one of the structures above, as long as we say, and what its
    // pointers point to outlives the call (each caller holds it).
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attribute), size_of::<T>())
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    i32::try_from(result).map_err(|_| io::Error::from_raw_os_error(libc::EOVERFLOW))
}

fn owned(fd: i32) -> OwnedFd {
    // SAFETY: the kernel has just returned it and nobody else has it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Tries whether a ring can be made: needs rights, and a kernel from 5.8 on.
///
/// # Errors
/// The system call's.
pub fn try_ring(bytes: usize) -> io::Result<()> {
    let max_entries = u32::try_from(bytes).unwrap_or(u32::MAX);
    let mut attribute =
        MapCreate { map_type: MAP_TYPE_RINGBUF, max_entries, ..MapCreate::default() };
    bpf(MAP_CREATE, &mut attribute).map(|fd| drop(owned(fd)))
}

/// Loads a program; on refusal loads again to get the verifier's log.
///
/// # Errors
/// The system call's error and the log.
pub fn load_program(
    kind: ProgramKind,
    name: &str,
    instructions: &[bpf_insn],
    license: &CStr,
) -> Result<OwnedFd, (io::Error, String)> {
    let attempt = |log: &mut [u8]| {
        let mut attribute = ProgLoad {
            insn_cnt: u32::try_from(instructions.len()).unwrap_or(u32::MAX),
            insns: instructions.as_ptr() as u64,
            license: license.as_ptr() as u64,
            ..ProgLoad::default()
        };
        match kind {
            ProgramKind::UprobeMulti => {
                attribute.prog_type = PROG_TYPE_KPROBE;
                attribute.expected_attach_type = TRACE_UPROBE_MULTI;
            }
            ProgramKind::Tracepoint { btf_id } => {
                attribute.prog_type = PROG_TYPE_TRACING;
                attribute.expected_attach_type = TRACE_RAW_TP;
                attribute.attach_btf_id = btf_id;
            }
            ProgramKind::Iterator { btf_id } => {
                attribute.prog_type = PROG_TYPE_TRACING;
                attribute.expected_attach_type = TRACE_ITER;
                attribute.attach_btf_id = btf_id;
            }
        }
        // The last byte stays zero.
        for (to, from) in attribute.prog_name.iter_mut().take(15).zip(name.bytes()) {
            *to = from;
        }
        if !log.is_empty() {
            attribute.log_level = 1;
            attribute.log_size = u32::try_from(log.len()).unwrap_or(0);
            attribute.log_buf = log.as_mut_ptr() as u64;
        }
        bpf(PROG_LOAD, &mut attribute)
    };
    let refusal = match attempt(&mut []) {
        Ok(fd) => return Ok(owned(fd)),
        Err(refusal) => refusal,
    };
    let mut log = vec![0; LOG_BYTES];
    match attempt(&mut log) {
        Ok(fd) => Ok(owned(fd)),
        Err(_) => {
            let text = CStr::from_bytes_until_nul(&log).unwrap_or_default();
            Err((refusal, text.to_string_lossy().into_owned()))
        }
    }
}

/// Attaches a program of [`ProgramKind::UprobeMulti`] to one process.
///
/// # Errors
/// The system call's.
pub fn link_uprobe_multi(
    program: BorrowedFd<'_>,
    path: &CStr,
    offsets: &[u64],
    cookies: &[u64],
    pid: u32,
) -> io::Result<OwnedFd> {
    // A pid of 0 would mean all processes; an empty list or lists of two lengths are bugs.
    if pid == 0 || offsets.is_empty() || offsets.len() != cookies.len() {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let mut attribute = LinkCreate {
        prog_fd: program.as_raw_fd() as u32,
        attach_type: TRACE_UPROBE_MULTI,
        path: path.as_ptr() as u64,
        offsets: offsets.as_ptr() as u64,
        cookies: cookies.as_ptr() as u64,
        cnt: u32::try_from(offsets.len()).unwrap_or(u32::MAX),
        pid,
        ..LinkCreate::default()
    };
    bpf(LINK_CREATE, &mut attribute).map(owned)
}

/// Attaches a program of [`ProgramKind::Tracepoint`].
///
/// # Errors
/// The system call's.
pub fn link_tracepoint(program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut attribute =
        RawTracepointOpen { prog_fd: program.as_raw_fd() as u32, ..RawTracepointOpen::default() };
    bpf(RAW_TRACEPOINT_OPEN, &mut attribute).map(owned)
}

/// Ties a program of [`ProgramKind::Iterator`] to the threads of one process.
///
/// # Errors
/// The system call's.
pub fn link_task_iterator(program: BorrowedFd<'_>, pid: u32) -> io::Result<OwnedFd> {
    // Zero would mean all threads of the host.
    if pid == 0 {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let mut of = TaskIterator { pid, ..TaskIterator::default() };
    let mut attribute = LinkIterator {
        prog_fd: program.as_raw_fd() as u32,
        attach_type: TRACE_ITER,
        info: &raw mut of as u64,
        info_len: size_of::<TaskIterator>() as u32,
        ..LinkIterator::default()
    };
    bpf(LINK_CREATE, &mut attribute).map(owned)
}

/// Begins a walk of an iterator; what its program writes is read from the file.
///
/// # Errors
/// The system call's.
pub fn open_iterator(link: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut attribute = IterCreate { link_fd: link.as_raw_fd() as u32, flags: 0 };
    bpf(ITER_CREATE, &mut attribute).map(owned)
}

/// Where Linux 5.12 and later tell it.
const INFO_RECURSION_MISSES: usize = std::mem::offset_of!(bpf_prog_info, recursion_misses);

/// How often a program was not run because another BPF program was running.
///
/// # Errors
/// The system call's. A kernel that does not count answers 0.
pub fn recursion_misses(program: BorrowedFd<'_>) -> io::Result<u64> {
    let mut info = [0u64; INFO_RECURSION_MISSES / 8 + 1];
    let mut attribute = InfoByFd {
        bpf_fd: program.as_raw_fd() as u32,
        info_len: u32::try_from(size_of_val(&info)).unwrap_or(0),
        info: info.as_mut_ptr() as u64,
    };
    bpf(OBJ_GET_INFO_BY_FD, &mut attribute)?;
    Ok(info.last().copied().unwrap_or(0))
}

/// Where the next batch of a hash map begins.
#[derive(Clone, Copy, Default, Debug)]
pub struct BatchCursor(Option<u32>);

/// What one batch brought.
#[derive(Debug)]
pub enum Batch {
    /// So many entries; more may follow.
    More(usize),
    /// So many entries, and no more.
    Last(usize),
    /// A bucket holds more entries than there is room for.
    TooSmall,
}

/// Reads entries of a hash map, as many as `keys` and `values` have room for.
///
/// # Errors
/// The system call's.
pub fn lookup_batch<K: aya::Pod, V: aya::Pod>(
    map: BorrowedFd<'_>,
    cursor: &mut BatchCursor,
    keys: &mut [K],
    values: &mut [V],
) -> io::Result<Batch> {
    let mut next = 0u32;
    let mut from = cursor.0.unwrap_or(0);
    let mut attribute = MapBatch {
        in_batch: cursor.0.map_or(0, |_| &raw mut from as u64),
        out_batch: &raw mut next as u64,
        keys: keys.as_mut_ptr() as u64,
        values: values.as_mut_ptr() as u64,
        count: u32::try_from(keys.len().min(values.len())).unwrap_or(u32::MAX),
        map_fd: map.as_raw_fd() as u32,
        ..MapBatch::default()
    };
    let result = bpf(MAP_LOOKUP_BATCH, &mut attribute);
    let count = (attribute.count as usize).min(keys.len()).min(values.len());
    cursor.0 = Some(next);
    match result {
        Ok(_) => Ok(Batch::More(count)),
        Err(error) => match error.raw_os_error() {
            Some(libc::ENOENT) => Ok(Batch::Last(count)),
            Some(libc::ENOSPC) => Ok(Batch::TooSmall),
            _ => Err(error),
        },
    }
}
