//! loiter where something is missing or forbidden: in namespaces of its own, under a filter of system calls.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output};

use super::loiter::command;

/// Runs a shell command in namespaces of its own; `$0` is loiter.
pub fn in_namespaces(which: &[&str], script: &str) -> Output {
    let mut command = Command::new("unshare");
    command.args(which).args(["sh", "-c", script, env!("CARGO_BIN_EXE_loiter")]).output().unwrap()
}

/// Runs `loiter` under a filter that answers a system call with an error.
pub fn filtered(call: libc::c_long, errno: i32, args: &[&str]) -> Output {
    let mut command = command(args);
    // SAFETY: between fork and exec only prctl(2) is called, and nothing is allocated.
    unsafe { command.pre_exec(move || forbid(call, errno)) };
    command.output().unwrap()
}

fn forbid(call: libc::c_long, errno: i32) -> std::io::Result<()> {
    let step =
        |code: u32, jump: u8, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: jump, k };
    let answer = libc::SECCOMP_RET_ERRNO | errno as u32;
    let mut filter = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, call as u32),
        step(libc::BPF_RET | libc::BPF_K, 0, answer),
        step(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the program and its instructions live through the call, which copies them.
    let done = unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            std::ptr::from_ref(&program),
            0,
            0,
        )
    };
    if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}
