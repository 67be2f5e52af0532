//! Findings in systemd's journal: what it is sent, and what it makes of that.

use std::os::fd::{AsRawFd as _, FromRawFd as _};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::generated::{LONG_NAME, long_names};
use crate::common::loiter::run;
use crate::common::{GoProc, NEWEST_GO, Variant, go_build, need_bpf, or_skip};
use crate::watch;

const PATIENCE: Duration = Duration::from_secs(120);

/// An entry as it came.
enum Entry {
    Datagram(String),
    /// In a file, with its seals.
    File(String, i32),
}

fn entry(socket: &UnixDatagram) -> Entry {
    let mut bytes = vec![0u8; 1 << 20];
    let mut control = [0u64; 8];
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: a message header without addresses; all zero is valid.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control);
    // SAFETY: the header names buffers that live through the call.
    let got = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, 0) };
    let got = usize::try_from(got).expect("an entry comes");
    if got > 0 {
        return Entry::Datagram(String::from_utf8(bytes[..got].to_vec()).unwrap());
    }
    // SAFETY: the kernel filled the header in; the first control message, if any, lies within.
    let fd = unsafe {
        let first = libc::CMSG_FIRSTHDR(&raw const message);
        assert!(!first.is_null() && (*first).cmsg_type == libc::SCM_RIGHTS);
        libc::CMSG_DATA(first).cast::<i32>().read_unaligned()
    };
    // SAFETY: the kernel has just made this descriptor for us.
    let mut file = unsafe { std::fs::File::from_raw_fd(fd) };
    // SAFETY: asks for the seals of a descriptor that is open.
    let seals = unsafe { libc::fcntl(fd, libc::F_GET_SEALS) };
    let mut text = String::new();
    std::io::Seek::rewind(&mut file).unwrap();
    std::io::Read::read_to_string(&mut file, &mut text).unwrap();
    Entry::File(text, seals)
}

fn field(text: &str, name: &str) -> String {
    let start = format!("{name}=");
    let line = text.lines().find_map(|line| line.strip_prefix(&start));
    line.unwrap_or_else(|| panic!("no {name}: {text}")).to_owned()
}

#[test]
fn the_journal_gets_a_finding_with_its_fields() {
    or_skip!(need_bpf());
    let exe = or_skip!(go_build(NEWEST_GO, "mutexcrowd", Variant::Stripped));
    let (target, _) = GoProc::start_ready(&exe, &["-n", "300"]);
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("socket");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    let mut loiter = watch(&target, &[&format!("--journald={}", path.display())]);
    let finding = loiter.wait_line("a finding", |line| line["schema"] == "loiter.finding/1");
    let Entry::Datagram(text) = entry(&socket) else { panic!("a small one is a datagram") };
    let field = |name: &str| field(&text, name);
    assert_eq!(field("LOITER_FINDING"), finding["finding_id"].as_str().unwrap());
    assert_eq!(field("LOITER_KIND"), finding["kind"].as_str().unwrap());
    assert_eq!(field("LOITER_CHANGE"), "opened");
    assert_eq!(field("LOITER_PID"), target.pid().to_string());
    assert_eq!(field("SYSLOG_IDENTIFIER"), "loiter");
    assert!(["3", "4", "5"].contains(&&*field("PRIORITY")), "{text}");
    assert!(field("MESSAGE").contains("created at"), "{text}");
    let json: Value = serde_json::from_str(&field("LOITER_JSON")).unwrap();
    assert_eq!(json, finding);
    let (_, summary, _) = loiter.interrupt();
    assert_eq!(summary["deliveries"][0]["failed"], 0, "{summary}");

    let missing = home.path().join("nothing");
    let output =
        run(&["watch", &target.pid().to_string(), &format!("--journald={}", missing.display())]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("no journal at") && said.contains("--journald"), "{said}");
    target.finish();
}

#[test]
fn an_entry_that_is_too_large_for_a_datagram_comes_in_a_sealed_file() {
    or_skip!(need_bpf());
    let exe = or_skip!(long_names(NEWEST_GO));
    let (target, _) = GoProc::start_ready(&exe, &[]);
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("socket");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut loiter = watch(&target, &[&format!("--journald={}", path.display())]);
    let finding = loiter.wait_line("a finding", |line| line["schema"] == "loiter.finding/1");
    let Entry::File(text, seals) = entry(&socket) else { panic!("it is too large") };
    let wanted = libc::F_SEAL_SEAL | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;
    assert_eq!(seals & wanted, wanted, "nobody can change it any more");
    assert!(text.len() > 256 << 10, "{}", text.len());
    let json: Value = serde_json::from_str(&field(&text, "LOITER_JSON")).unwrap();
    assert_eq!(json, finding);
    let (_, summary, _) = loiter.interrupt();
    assert_eq!(summary["deliveries"][0]["failed"], 0, "{summary}");
    target.finish();
}

/// The real journal, in a mount namespace whose `/run` is a directory of the test.
struct Journald {
    process: Child,
    home: tempfile::TempDir,
}

impl Journald {
    fn start() -> Result<Journald, String> {
        let program = Path::new("/usr/lib/systemd/systemd-journald");
        if !program.is_file() {
            return Err("systemd-journald is not there: `cargo xtask setup` installs it".to_owned());
        }
        let home = tempfile::tempdir().unwrap();
        let settings = home.path().join("systemd/journald.conf.d");
        std::fs::create_dir_all(&settings).unwrap();
        let text = "[Journal]\nStorage=volatile\nReadKMsg=no\nForwardToSyslog=no\nAudit=no\nRateLimitBurst=0\n";
        std::fs::write(settings.join("test.conf"), text).unwrap();
        let script =
            format!("mount --bind {} /run && exec {}", home.path().display(), program.display());
        let process = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", &script])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let journald = Journald { process, home };
        let end = Instant::now() + PATIENCE;
        while !journald.socket().exists() || journald.entries().is_empty() {
            assert!(Instant::now() < end, "the journal does not begin");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(journald)
    }

    fn socket(&self) -> PathBuf {
        self.home.path().join("systemd/journal/socket")
    }

    /// All entries, as journalctl tells them.
    fn entries(&self) -> Vec<Value> {
        let output = Command::new("journalctl")
            .arg("--directory")
            .arg(self.home.path().join("log/journal"))
            .args(["--output=json", "--all", "--quiet"])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Waits for the first finding.
    fn finding(&self) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let found = self.entries().into_iter().find(|entry| !entry["LOITER_JSON"].is_null());
            if let Some(found) = found {
                return found;
            }
            assert!(Instant::now() < end, "no finding in the journal");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Journald {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn the_real_journal_keeps_findings_small_and_large_with_their_fields() {
    or_skip!(need_bpf());
    let small = or_skip!(go_build(NEWEST_GO, "mutexcrowd", Variant::Stripped));
    let large = or_skip!(long_names(NEWEST_GO));
    for (exe, args) in [(&small, &["-n", "300"][..]), (&large, &[])] {
        let journald = or_skip!(Journald::start());
        let (target, _) = GoProc::start_ready(exe, args);
        let mut loiter = watch(&target, &[&format!("--journald={}", journald.socket().display())]);
        let finding = loiter.wait_line("a finding", |line| line["schema"] == "loiter.finding/1");
        let kept = journald.finding();
        let field = |name: &str| {
            kept[name].as_str().unwrap_or_else(|| panic!("no {name}: {kept}")).to_owned()
        };
        let json: Value = serde_json::from_str(&field("LOITER_JSON")).unwrap();
        assert_eq!(json, finding);
        assert_eq!(field("LOITER_KIND"), finding["kind"].as_str().unwrap());
        assert_eq!(field("SYSLOG_IDENTIFIER"), "loiter");
        assert_eq!(field("_PID"), loiter.pid().to_string());
        assert!(field("MESSAGE").contains("created at"), "{kept}");
        let long = finding.to_string().contains(&LONG_NAME.repeat(100));
        assert_eq!(long, exe == &large, "{finding}");
        let (_, summary, _) = loiter.interrupt();
        assert_eq!(summary["deliveries"][0]["failed"], 0, "{summary}");
        target.finish();
    }
}
