//! The few facts the kernel part needs of this kernel's types, from its BTF: one pass over the
//! bytes, nothing kept. (aya's parser holds every type of the kernel, 20 MB and 20 ms.)
//!
//! Source of the format: Documentation/bpf/btf.rst.

use tracer_common::config::KernelLayout;

/// Where the kernel shows its types.
pub const PATH: &str = "/sys/kernel/btf/vmlinux";
/// Longest BTF read; today's kernels have 4 to 10 MB.
pub const MOST_BYTES: u64 = 64 << 20;

const MAGIC: u16 = 0xeb9f;

/// What was found. A field that this kernel does not have is absent.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct KernelTypes {
    /// BTF ids of the `btf_trace_*` typedefs, in the order asked for.
    pub tracepoints: Vec<Option<u32>>,
    task_tgid: Option<u32>,
    task_exit_code: Option<u32>,
    task_signal: Option<u32>,
    signal_live: Option<u32>,
    threads: Threads,
    task_se: Option<u32>,
    se_ran: Option<u32>,
    se_ran_before: Option<u32>,
}

/// What is needed to follow threads.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Threads {
    task_pid: Option<u32>,
    task_nvcsw: Option<u32>,
    task_thread_pid: Option<u32>,
    task_flags: Option<u32>,
    task_stack: Option<u32>,
    pid_level: Option<u32>,
    pid_numbers: Option<u32>,
}

impl Threads {
    /// Adds the offsets, if all are known.
    fn fill(self, layout: KernelLayout) -> Option<KernelLayout> {
        Some(KernelLayout {
            task_pid: self.task_pid?,
            task_nvcsw: self.task_nvcsw?,
            task_thread_pid: self.task_thread_pid?,
            task_flags: self.task_flags?,
            task_stack: self.task_stack?,
            pid_level: self.pid_level?,
            pid_numbers: self.pid_numbers?,
            ..layout
        })
    }
}

impl KernelTypes {
    /// The offsets, if those for processes are known; the PID namespace is left zero, and so is
    /// what is for threads if some of it is not known.
    pub fn layout(&self) -> Option<KernelLayout> {
        let layout = KernelLayout {
            task_tgid: self.task_tgid?,
            task_exit_code: self.task_exit_code?,
            task_signal: self.task_signal?,
            signal_live: self.signal_live?,
            ..KernelLayout::default()
        };
        let layout = self.threads.fill(layout).unwrap_or(layout);
        Some(self.with_run_times(layout).unwrap_or(layout))
    }

    /// Adds where a thread's processor time stands, if all of it is known.
    fn with_run_times(&self, layout: KernelLayout) -> Option<KernelLayout> {
        let se = self.task_se?;
        Some(KernelLayout {
            task_ran: se.checked_add(self.se_ran?)?,
            task_ran_before: se.checked_add(self.se_ran_before?)?,
            ..layout
        })
    }

    /// Whether threads can be followed by them.
    pub fn has_threads(&self) -> bool {
        self.threads.fill(KernelLayout::default()).is_some()
    }
}

/// Scans BTF for the tracepoints named and the offsets of [`KernelLayout`]. None if it is not BTF
/// of a form this knows.
pub fn scan(btf: &[u8], tracepoints: &[&str]) -> Option<KernelTypes> {
    if u16_at(btf, 0)? != MAGIC {
        return None;
    }
    let header = u32_at(btf, 4)? as usize;
    let types = section(btf, header, 8)?;
    let strings = Strings(section(btf, header, 16)?);
    let mut found =
        KernelTypes { tracepoints: vec![None; tracepoints.len()], ..KernelTypes::default() };
    let (mut at, mut id) = (0usize, 1u32);
    while at < types.len() {
        let one = Type::read(types, at)?;
        match one.kind {
            Type::TYPEDEF => {
                if let Some(name) = strings.at(one.name)?.strip_prefix(b"btf_trace_") {
                    for (slot, wanted) in found.tracepoints.iter_mut().zip(tracepoints) {
                        if name == wanted.as_bytes() {
                            *slot = Some(id);
                        }
                    }
                }
            }
            Type::STRUCT => found.take_members(&one, types, strings)?,
            _ => {}
        }
        at = one.end;
        id = id.checked_add(1)?;
    }
    Some(found)
}

impl KernelTypes {
    fn take_members(&mut self, one: &Type, types: &[u8], strings: Strings<'_>) -> Option<()> {
        let member = |name: &[u8]| one.member(types, strings, name);
        match strings.at(one.name)? {
            b"task_struct" => {
                self.task_tgid = member(b"tgid")?;
                self.task_exit_code = member(b"exit_code")?;
                self.task_signal = member(b"signal")?;
                self.threads.task_pid = member(b"pid")?;
                self.threads.task_nvcsw = member(b"nvcsw")?;
                self.threads.task_thread_pid = member(b"thread_pid")?;
                self.threads.task_flags = member(b"flags")?;
                self.threads.task_stack = member(b"stack")?;
                self.task_se = member(b"se")?;
            }
            b"sched_entity" => {
                self.se_ran = member(b"sum_exec_runtime")?;
                self.se_ran_before = member(b"prev_sum_exec_runtime")?;
            }
            // An atomic_t, whose counter is its first member.
            b"signal_struct" => self.signal_live = member(b"live")?,
            b"pid" => {
                self.threads.pid_level = member(b"level")?;
                self.threads.pid_numbers = member(b"numbers")?;
            }
            _ => {}
        }
        Some(())
    }
}

/// The id of a function. None if there is none of that name, or it is not BTF of a known form.
pub fn function_id(btf: &[u8], name: &[u8]) -> Option<u32> {
    if u16_at(btf, 0)? != MAGIC {
        return None;
    }
    let header = u32_at(btf, 4)? as usize;
    let types = section(btf, header, 8)?;
    let strings = Strings(section(btf, header, 16)?);
    let (mut at, mut id) = (0usize, 1u32);
    while at < types.len() {
        let one = Type::read(types, at)?;
        if one.kind == Type::FUNC && strings.at(one.name)? == name {
            return Some(id);
        }
        at = one.end;
        id = id.checked_add(1)?;
    }
    None
}

/// Entry for fuzzing.
pub fn fuzz_btf(bytes: &[u8]) {
    let _whatever = function_id(bytes, b"bpf_iter_task");
    let _whatever = scan(bytes, &["sched_process_exec"]);
}

/// A part of the BTF whose offset and length stand at `field`; offsets count from the header's end.
fn section(btf: &[u8], header: usize, field: usize) -> Option<&[u8]> {
    let start = header.checked_add(u32_at(btf, field)? as usize)?;
    let end = start.checked_add(u32_at(btf, field + 4)? as usize)?;
    btf.get(start..end)
}

struct Type {
    name: u32,
    kind: u8,
    members: usize,
    bitfields: bool,
    body: usize,
    end: usize,
}

impl Type {
    const STRUCT: u8 = 4;
    const TYPEDEF: u8 = 8;
    const FUNC: u8 = 12;
    /// A member of a structure: name, type, offset in bits.
    const MEMBER_BYTES: usize = 12;

    fn read(types: &[u8], at: usize) -> Option<Self> {
        let info = u32_at(types, at.checked_add(4)?)?;
        let members = (info & 0xffff) as usize;
        let kind = (info >> 24 & 0x1f) as u8;
        let body = at.checked_add(12)?;
        let len = match kind {
            1 | 14 | 17 => 4,
            2 | 7..=12 | 16 | 18 => 0,
            3 => 12,
            4 | 5 | 15 | 19 => members * 12,
            6 | 13 => members * 8,
            _ => return None,
        };
        let end = body.checked_add(len)?;
        Some(Self {
            name: u32_at(types, at)?,
            kind,
            members,
            bitfields: info >> 31 != 0,
            body,
            end,
        })
    }

    /// Offset of a member in bytes; `Some(None)` if there is none of that name.
    #[allow(clippy::option_option, reason = "the outer one is for bytes that are not BTF")]
    fn member(&self, types: &[u8], strings: Strings<'_>, name: &[u8]) -> Option<Option<u32>> {
        for index in 0..self.members {
            let at = self.body.checked_add(index.checked_mul(Self::MEMBER_BYTES)?)?;
            if strings.at(u32_at(types, at)?)? == name {
                let bits = u32_at(types, at.checked_add(8)?)?;
                let bits = if self.bitfields { bits & 0x00ff_ffff } else { bits };
                return Some((bits % 8 == 0).then_some(bits / 8));
            }
        }
        Some(None)
    }
}

#[derive(Clone, Copy)]
struct Strings<'a>(&'a [u8]);

impl<'a> Strings<'a> {
    fn at(self, offset: u32) -> Option<&'a [u8]> {
        let rest = self.0.get(offset as usize..)?;
        rest.get(..memchr::memchr(0, rest)?)
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A BTF with an int, `struct task_struct { tgid at 8, exit_code at 16, signal at 24 }`,
    /// `struct signal_struct { live at 4 }` and `typedef btf_trace_x`.
    fn small() -> Vec<u8> {
        let mut strings = vec![0u8];
        let mut name = |text: &str| {
            let at = strings.len() as u32;
            strings.extend(text.bytes().chain([0]));
            at
        };
        let mut types: Vec<u32> = vec![name("int"), 1 << 24, 4, 32];
        types.extend([name("task_struct"), 4 << 24 | 3, 64]);
        types.extend([name("tgid"), 1, 64, name("exit_code"), 1, 128, name("signal"), 1, 192]);
        types.extend([name("signal_struct"), 4 << 24 | 1 << 31 | 1, 64, name("live"), 1, 32]);
        types.extend([name("btf_trace_x"), 8 << 24, 1]);
        let types: Vec<u8> = types.into_iter().flat_map(u32::to_ne_bytes).collect();
        let mut btf = Vec::new();
        btf.extend(MAGIC.to_ne_bytes());
        btf.extend([1, 0]);
        for field in [24, 0, types.len() as u32, types.len() as u32, strings.len() as u32] {
            btf.extend(field.to_ne_bytes());
        }
        btf.extend(types);
        btf.extend(strings);
        btf
    }

    #[test]
    fn offsets_and_ids_are_found() {
        let found = scan(&small(), &["y", "x"]).unwrap();
        assert_eq!(found.tracepoints, [None, Some(4)]);
        let layout = found.layout().unwrap();
        assert_eq!((layout.task_tgid, layout.task_exit_code), (8, 16));
        assert_eq!((layout.task_signal, layout.signal_live), (24, 4));
    }

    #[test]
    fn truncated_and_corrupted_btf_never_panics() {
        let whole = small();
        for len in 0..whole.len() {
            fuzz_btf(&whole[..len]);
        }
        let mut seed = 0x2545_f491_4f6c_dd1du64;
        for _ in 0..20_000 {
            let mut bytes = whole.clone();
            for _ in 0..3 {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                let at = seed as usize % bytes.len();
                bytes[at] = (seed >> 32) as u8;
            }
            fuzz_btf(&bytes);
        }
    }

    #[test]
    fn this_kernel_has_what_is_needed() {
        let Ok(btf) = std::fs::read(PATH) else { return };
        let found = scan(&btf, &["sched_process_exec", "sched_process_exit"]).unwrap();
        assert!(
            found.layout().is_some()
                && found.has_threads()
                && found.layout().is_some_and(|layout| layout.task_ran != layout.task_ran_before)
                && found.tracepoints.iter().all(Option::is_some),
            "{found:?}"
        );
    }
}
