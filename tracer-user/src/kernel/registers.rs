//! The registers of all threads of a process at once, through a BPF iterator over its threads: some
//! milliseconds for thousands, and none of them stops. The program is eighteen instructions, made
//! here: it copies what the kernel saved of each thread when it left user mode. The iterator goes
//! over one process since Linux 6.1 (`bpf_iter_link_info.task`).
//!
//! Who is whose: a thread is known by its stack pointer, which no two have; so nothing has to be
//! said of PID namespaces.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};

use aya_obj::generated::bpf_insn;

use crate::base::{Pid, Registers};

use super::{btf, sys};

/// Words of `struct pt_regs` of x86-64 (arch/x86/include/asm/ptrace.h).
const WORDS: usize = 21;
const BYTES: i32 = 8 * WORDS as i32;
/// Most threads read: as many as looks follow.
const MAX_THREADS: usize = 1 << 16;

/// Helpers (include/uapi/linux/bpf.h, `___BPF_FUNC_MAPPER`).
const PROBE_READ_KERNEL: i32 = 113;
const SEQ_WRITE: i32 = 127;
const TASK_PT_REGS: i32 = 175;

/// Reads the registers of one process's threads.
#[derive(Debug)]
pub struct ThreadRegisters {
    link: OwnedFd,
    _program: OwnedFd,
}

impl ThreadRegisters {
    /// Prepares reading.
    ///
    /// # Errors
    /// If this kernel or these rights do not allow it.
    pub fn of(pid: Pid) -> io::Result<Self> {
        let mut bytes = Vec::new();
        File::open(btf::PATH)?.take(btf::MOST_BYTES).read_to_end(&mut bytes)?;
        let btf_id = btf::function_id(&bytes, b"bpf_iter_task")
            .ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))?;
        drop(bytes);
        let kind = sys::ProgramKind::Iterator { btf_id };
        let program = sys::load_program(kind, "thread_regs", &program(), c"Dual MIT/GPL")
            .map_err(|(error, _)| error)?;
        let link = sys::link_task_iterator(program.as_fd(), pid.0)?;
        Ok(Self { link, _program: program })
    }

    /// The registers of all threads now.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn read(&self) -> io::Result<Vec<Registers>> {
        let file = File::from(sys::open_iterator(self.link.as_fd())?);
        let mut bytes = Vec::new();
        file.take((MAX_THREADS * 8 * WORDS) as u64).read_to_end(&mut bytes)?;
        let all = bytes.as_chunks::<{ 8 * WORDS }>().0;
        Ok(all.iter().map(decode).collect())
    }
}

/// `struct pt_regs`: r15, r14, r13, r12, bp, bx, r11 to r8, ax, cx, dx, si, di, orig_ax, ip, cs,
/// flags, sp, ss.
fn decode(bytes: &[u8; 8 * WORDS]) -> Registers {
    let words = bytes.as_chunks::<8>().0;
    let word = |at: usize| words.get(at).map_or(0, |word| u64::from_le_bytes(*word));
    Registers {
        pc: word(16),
        sp: word(19),
        bp: word(4),
        bx: word(5),
        r12_to_r15: [word(3), word(2), word(1), word(0)],
    }
}

/// ```text
/// r6 = ctx->task; if r6 == 0 goto end
/// r7 = ctx->meta->seq
/// probe_read_kernel(stack, BYTES, task_pt_regs(r6))
/// seq_write(r7, stack, BYTES)
/// end: return 0
/// ```
fn program() -> Vec<bpf_insn> {
    /// Opcodes (include/uapi/linux/bpf.h, bpf_common.h): load a double word, move, add, compare and
    /// jump, call, exit.
    const LDX_DW: u8 = 0x79;
    const MOV_REG: u8 = 0xbf;
    const MOV_IMM: u8 = 0xb7;
    const ADD_IMM: u8 = 0x07;
    const JEQ_IMM: u8 = 0x15;
    const CALL: u8 = 0x85;
    const EXIT: u8 = 0x95;
    vec![
        instruction(LDX_DW, 6, 1, 8, 0),
        instruction(JEQ_IMM, 6, 0, 14, 0),
        instruction(LDX_DW, 7, 1, 0, 0),
        instruction(LDX_DW, 7, 7, 0, 0),
        instruction(MOV_REG, 1, 6, 0, 0),
        instruction(CALL, 0, 0, 0, TASK_PT_REGS),
        instruction(MOV_REG, 3, 0, 0, 0),
        instruction(MOV_REG, 1, 10, 0, 0),
        instruction(ADD_IMM, 1, 0, 0, -BYTES),
        instruction(MOV_IMM, 2, 0, 0, BYTES),
        instruction(CALL, 0, 0, 0, PROBE_READ_KERNEL),
        instruction(MOV_REG, 1, 7, 0, 0),
        instruction(MOV_REG, 2, 10, 0, 0),
        instruction(ADD_IMM, 2, 0, 0, -BYTES),
        instruction(MOV_IMM, 3, 0, 0, BYTES),
        instruction(CALL, 0, 0, 0, SEQ_WRITE),
        instruction(MOV_IMM, 0, 0, 0, 0),
        instruction(EXIT, 0, 0, 0, 0),
    ]
}

fn instruction(code: u8, to: u8, from: u8, off: i16, imm: i32) -> bpf_insn {
    bpf_insn {
        code,
        _bitfield_align_1: [],
        _bitfield_1: bpf_insn::new_bitfield_1(to, from),
        off,
        imm,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn this_process_has_as_many_registers_as_threads_where_the_kernel_allows_it() {
        let pid = Pid(std::process::id());
        let registers = match ThreadRegisters::of(pid) {
            Ok(registers) => registers,
            Err(why) => {
                // Past libtest's capture: `cargo xtask test` counts these lines.
                let name = "this_process_has_as_many_registers_as_threads";
                let _ = writeln!(io::stdout().lock(), "\nSKIPPED {name}: {why}");
                return;
            }
        };
        let all = registers.read().unwrap();
        assert!(!all.is_empty());
        assert!(all.iter().all(|regs| regs.sp != 0 && regs.pc != 0), "{all:x?}");
    }
}
