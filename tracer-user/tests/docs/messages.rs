//! Each message by which docs/troubleshooting.md goes is one that loiter says: here is what makes it say so.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use loiter::base::Pid;
use loiter::kernel::KernelError;
use regex::Regex;

use crate::common::confined::{filtered, in_namespaces};
use crate::common::loiter::{Loiter, command, run};
use crate::common::{GoProc, NEWEST_GO, Variant, copy_program, go_build, need_bpf, or_skip};

/// A message as the page quotes it, and what says it. `…` stands for any words, a single N for a number.
type Message = (&'static str, fn() -> String);

/// In the order of the page.
pub const MESSAGES: &[Message] = &[
    ("no process N", || said(&run(&["dump", "4194303"]))),
    ("/proc is not mounted", || mounted("/proc", "", "$0 dump 1")),
    ("/sys is not mounted", || mounted("/sys", "", WATCH)),
    ("process N … is not a Go program", not_go),
    ("was packed with UPX", packed),
    ("Go version … is not supported", || of_stand_in("go1.42.0")),
    ("no Go function table (pclntab)", || of_stand_in(&format!("go{NEWEST_GO}"))),
    ("no moduledata", overwritten),
    ("CAP_… missing", || as_nobody(&["watch"])),
    ("is refused", bpf_forbidden),
    ("although the capabilities are there", bpf_forbidden),
    ("loiter runs in a user namespace", || {
        said(&in_namespaces(&["--user", "--map-root-user"], WATCH))
    }),
    ("this is a gVisor sandbox", gvisor),
    ("Yama forbids reading other processes", yama),
    ("held: …; given up: N others", || {
        of_shell(|pid| said(&run(&["watch", pid, "--for", "1s", "-v"])))
    }),
    ("no BPF ring buffer", || {
        of_shell(|pid| said(&filtered(libc::SYS_bpf, libc::ENOSYS, &["watch", pid])))
    }),
    ("built without uprobes", old_without_uprobes),
    ("reading the target's memory is not permitted", memory_forbidden),
    ("the plan was made from another file", changed),
    ("the target replaced its image (exec)", replaced),
    ("N looks in a row failed", unreadable),
    ("lost", losing),
    ("there is no key …", || {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "nane = [\"x\"]\n").unwrap();
        let path = file.path().to_str().unwrap();
        said(&run(&["watch", "--config", path, "--check-config"]))
    }),
    ("cannot tell metrics at …", || {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let metrics = format!("--metrics={}", taken.local_addr().unwrap());
        of_shell(|pid| said(&run(&["watch", pid, "--for", "1s", &metrics])))
    }),
    ("--metrics beyond this host tells names of functions", || {
        of_shell(|pid| said(&run(&["watch", pid, "--for", "1s", "--metrics=0.0.0.0:9464"])))
    }),
    ("cannot be told now, trying again", || {
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        sending(nobody)
    }),
    ("not delivered to …", || {
        let refusing = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = refusing.local_addr().unwrap();
        std::thread::spawn(move || {
            for mut stream in refusing.incoming().map_while(Result::ok) {
                let _gone =
                    stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n");
                // What is closed with a part unread is reset, and its answer lost.
                let _gone = std::io::copy(&mut stream, &mut std::io::sink());
            }
        });
        sending(address)
    }),
    ("another seccomp listener is in place", || {
        let loiter = env!("CARGO_BIN_EXE_loiter");
        said(&run(&["check", "--", loiter, "check", "--", "true"]))
    }),
];

/// A watch with probes on a process of its own; `$0` is loiter.
const WATCH: &str = "sleep 60 & $0 watch $! --for 1s; kill $!";

#[test]
fn every_message_of_the_troubleshooting_page_is_said() {
    or_skip!(need_bpf());
    let unsaid: Vec<String> = MESSAGES
        .iter()
        .filter_map(|(message, says)| {
            let said = says();
            println!("{message}: {said}\n");
            (!pattern(message).is_match(&said)).then(|| format!("`{message}` is not in: {said}"))
        })
        .collect();
    assert!(unsaid.is_empty(), "{}", unsaid.join("\n"));
}

#[test]
fn every_message_that_is_tried_is_on_the_troubleshooting_page_and_no_other() {
    let page = crate::pages::read("docs/troubleshooting.md");
    let quote = Regex::new("`([^`]+)`").unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    // Words in parentheses say where a message is met.
    let beside = Regex::new(r"\([^)]*`[^`]*`[^)]*\)").unwrap();
    let quoted: Vec<String> = rows
        .flat_map(|row| {
            let first = beside.replace_all(row.split(" | ").next().unwrap_or_default(), "");
            let first = format!("`{first}");
            quote.captures_iter(&first).map(|c| c[1].to_owned()).collect::<Vec<_>>()
        })
        .collect();
    let tried: Vec<&str> = MESSAGES.iter().map(|(message, _)| *message).collect();
    assert_eq!(quoted, tried);
}

fn pattern(message: &str) -> Regex {
    let words = regex::escape(message).replace('…', ".+");
    Regex::new(&Regex::new(r"(?-u:\b)N(?-u:\b)").unwrap().replace_all(&words, r"\d+")).unwrap()
}

#[test]
fn a_quoted_message_stands_for_what_differs_and_for_nothing_else() {
    assert!(pattern("no process N").is_match("error: no process 12: check"));
    assert!(!pattern("no process N").is_match("no process was watched"));
    assert!(pattern("CAP_… missing").is_match("CAP_BPF, CAP_PERFMON missing: run"));
}

fn said(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A process that ends when it is dropped.
struct Ends(Child);

impl Ends {
    fn start(command: &mut Command) -> Ends {
        Ends(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap())
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What is said of a program that is not Go.
fn of_shell(says: impl Fn(&str) -> String) -> String {
    says(&Ends::start(Command::new("sleep").arg("600")).pid())
}

/// What is said when metrics are sent there.
fn sending(to: SocketAddr) -> String {
    let to = format!("http://{to}");
    let args = ["--otlp", &to, "--otlp-every", "100ms", "--for", "1s"];
    of_shell(|pid| said(&run(&[&["watch", pid][..], &args].concat())))
}

/// With an empty file system in the place of a directory.
fn mounted(directory: &str, then: &str, script: &str) -> String {
    let script = format!("mount -t tmpfs none {directory}; {then} {script}");
    said(&in_namespaces(&["--mount", "--propagation", "private"], &script))
}

fn not_go() -> String {
    of_shell(|pid| said(&run(&["dump", pid, "--assume-go", "1.27"])))
}

/// UPX's magic among the headers: in the padding of the ELF identification, which no loader reads.
fn packed() -> String {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("packed");
    let plain = dir.path().join("plain");
    copy_program(Path::new("/bin/sleep"), &plain);
    let file = std::fs::OpenOptions::new().write(true).open(&plain).unwrap();
    file.write_all_at(b"UPX!", 9).unwrap();
    drop(file);
    copy_program(&plain, &program);
    let process = Ends::start(Command::new(&program).arg("600"));
    said(&run(&["dump", &process.pid()]))
}

/// A C program that says to be made by Go of this version.
fn of_stand_in(version: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("stand-in");
    let length = version.len();
    let source = format!(
        "#include <unistd.h>\n\
         __attribute__((used, section(\".go.buildinfo\"), aligned(16))) static char info[64] =\n\
         \"\\377 Go buildinf:\\010\\002\" \"\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\" \"\\{length:03o}\" \"{version}\";\n\
         int main(void) {{ for (;;) pause(); }}\n"
    );
    let mut compiler = Command::new("cc")
        .args(["-x", "c", "-", "-o"])
        .arg(&program)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    compiler.stdin.take().unwrap().write_all(source.as_bytes()).unwrap();
    assert!(compiler.wait().unwrap().success(), "{source}");
    let process = Ends::start(&mut Command::new(&program));
    said(&run(&["dump", &process.pid()]))
}

/// A Go program that was stopped; its data is then overwritten.
struct Overwritten(GoProc);

impl Overwritten {
    fn stop() -> Overwritten {
        let exe: PathBuf = go_build(NEWEST_GO, "pool", Variant::Stripped).unwrap();
        let (process, _) = GoProc::start_ready(&exe, &["-n", "10"]);
        process.signal(libc::SIGSTOP);
        Overwritten(process)
    }

    fn pid(&self) -> String {
        self.0.pid().to_string()
    }

    fn overwrite(&self) {
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", self.pid())).unwrap();
        let memory =
            std::fs::OpenOptions::new().write(true).open(format!("/proc/{}/mem", self.pid()));
        let memory = memory.unwrap();
        let exe = std::fs::read_link(format!("/proc/{}/exe", self.pid())).unwrap();
        let exe = exe.to_string_lossy();
        for line in maps.lines().filter(|line| line.contains(" rw-p ") && line.ends_with(&*exe)) {
            let (start, end) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
            let number = |hex| u64::from_str_radix(hex, 16).unwrap();
            let bytes = vec![0xa5; usize::try_from(number(end) - number(start)).unwrap()];
            memory.write_all_at(&bytes, number(start)).unwrap();
        }
    }
}

fn overwritten() -> String {
    let process = Overwritten::stop();
    process.overwrite();
    said(&run(&["dump", &process.pid()]))
}

fn unreadable() -> String {
    let process = Overwritten::stop();
    let args = ["--events", "none", "--interval", "100ms"];
    let mut loiter = Loiter::watch(process.0.pid(), &args);
    process.overwrite();
    loiter.wait_message(" in a row failed")
}

/// As a user without rights.
fn as_nobody(args: &[&str]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(dir.path(), open).unwrap();
    let own = dir.path().join("loiter");
    copy_program(Path::new(env!("CARGO_BIN_EXE_loiter")), &own);
    let process = Ends::start(
        Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .args(["sleep", "600"]),
    );
    let mut words = vec!["--reuid=65534", "--regid=65534", "--clear-groups"];
    words.extend(["--inh-caps=-all", "--bounding-set=-all"]);
    said(
        &Command::new("setpriv")
            .args(words)
            .arg(&own)
            .args(args)
            .arg(process.pid())
            .output()
            .unwrap(),
    )
}

fn memory_forbidden() -> String {
    let exe = go_build(NEWEST_GO, "pool", Variant::Stripped).unwrap();
    let (process, _) = GoProc::start_ready(&exe, &["-n", "2"]);
    said(&filtered(libc::SYS_process_vm_readv, libc::EPERM, &["dump", &process.pid().to_string()]))
}

fn bpf_forbidden() -> String {
    of_shell(|pid| said(&filtered(libc::SYS_bpf, libc::EPERM, &["watch", pid])))
}

fn gvisor() -> String {
    let version = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(version.path(), "Linux version 4.4.0 #1 SMP Sun Jan 10 15:06:54 PST 2016\n")
        .unwrap();
    let script = format!("mount --bind {} /proc/version; {WATCH}", version.path().display());
    said(&in_namespaces(&["--mount", "--propagation", "private"], &script))
}

/// With Yama's file in the place where it would be.
fn yama() -> String {
    let then = "mkdir /proc/sys/kernel/yama; echo 3 > /proc/sys/kernel/yama/ptrace_scope; \
                uname -r > /proc/sys/kernel/osrelease;";
    mounted("/proc/sys/kernel", then, WATCH)
}

/// Of a release without uprobe_multi, and without the files of uprobes.
fn old_without_uprobes() -> String {
    let then = "mount -t tmpfs none /proc/sys/kernel; echo 5.15.0 > /proc/sys/kernel/osrelease;";
    mounted("/sys/bus/event_source/devices", then, WATCH)
}

/// The file would have to change between two steps of one start: the error itself is asked.
fn changed() -> String {
    let (function, planned, found) = ("runtime.gopark".into(), "48 83".into(), "cc 83".into());
    KernelError::Changed { pid: Pid(1), function, offset: 0x40, planned, found }.to_string()
}

fn replaced() -> String {
    let exe = go_build(NEWEST_GO, "pool", Variant::Stripped).unwrap();
    let script = "echo ready; read line; exec \"$0\" -n 2";
    let args = ["-c", script, exe.to_str().unwrap()];
    let (mut process, _) = GoProc::start_ready(Path::new("sh"), &args);
    let mut loiter = Loiter::watch(process.pid(), &[]);
    process.ask("go on", "ready");
    let message = loiter.wait_message("replaced");
    process.finish();
    message
}

/// A ring of a page is too small for a million births.
fn losing() -> String {
    let exe = go_build(NEWEST_GO, "million", Variant::Stripped).unwrap();
    let (mut process, _) = GoProc::start_ready(&exe, &[]);
    let pid = process.pid().to_string();
    let args = ["watch", &pid, "--events", "lifecycle", "--ring-size", "4KiB", "--budget", "off"];
    let mut child = command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut messages = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(messages.any(|line| line.unwrap().contains("watching")), "it watches");
    std::thread::spawn(move || messages.count());
    process.tell("run");
    process.wait_for("done");
    process.finish();
    let output = child.wait_with_output().unwrap();
    said(&output).split("lost ").nth(1).map_or_else(String::new, |rest| format!("lost {rest}"))
}
