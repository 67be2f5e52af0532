//! The configuration file: what is wrong with one, and what changes when it is read again.

use std::path::Path;

use crate::common::loiter::{Loiter, run};
use crate::common::{need_bpf, or_skip};
use crate::support::{named, start, still, sums_up, watches};

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("the file can be written");
}

fn checked(text: &str) -> (i32, String, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("loiter.toml");
    write(&path, text);
    let output = run(&["watch", "--check-config", "--config", path.to_str().unwrap()]);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_configuration_that_is_right_is_told_as_it_takes_effect() {
    let (code, out, err) = checked(
        "all = true\nname = [\"orders*\"]\nstuck-after = \"1m\"\n[[target]]\nname = \"db\"\nevents = \"none\"\n",
    );
    assert_eq!(code, 0, "{err}");
    for line in ["all = true", "name = [\"orders*\"]", "stuck-after = \"1m\"", "events = \"none\""]
    {
        assert!(out.lines().any(|l| l == line), "{line}: {out}");
    }
    assert!(out.contains("interval = \"2s\"  # default"), "{out}");
    // What is told is a configuration itself.
    let (code, again, err) = checked(&out);
    assert_eq!(code, 0, "{err}");
    assert!(again.contains("name = \"db\""), "{again}");
}

#[test]
fn a_configuration_that_is_wrong_is_refused_with_its_line_and_what_would_be_right() {
    let cases = [
        ("all = true\nnmae = [\"a\"]\n", "line 2: there is no key `nmae`; did you mean `name`?"),
        ("all = true\ninterval = \"often\"\n", "line 2: "),
        ("all = 7\n", "line 1: `all` is true or false"),
        ("all = true\n[[target]]\nbudget = \"1%\"\n", "needs a `name`"),
        ("all = tru\n", "line 1: "),
        ("name = [\"a\"]\n", "--all"),
        ("all = true\nmin-wait = \"1ms\"\n", "--events all"),
    ];
    for (text, wanted) in cases {
        let (code, out, err) = checked(text);
        assert_eq!((code, out.as_str()), (2, ""), "{text}: {err}");
        assert!(err.contains(wanted), "{text}: {err}");
    }
}

#[test]
fn a_configuration_with_which_nobody_could_be_told_is_refused() {
    let cases = [
        ("metrics = \"0.0.0.0:0\"\n", "--metrics-token-file"),
        (
            "metrics = \"127.0.0.1:0\"\nmetrics-token-file = \"/nowhere/token\"\n",
            "cannot read /nowhere/token",
        ),
        (
            "metrics = true\nmetrics-tls-cert = \"/nowhere/cert\"\nmetrics-tls-key = \"/nowhere/key\"\n",
            "cannot read /nowhere/cert",
        ),
        (
            "webhook = \"http://127.0.0.1:1/\"\nwebhook-token-file = \"/nowhere/hook\"\n",
            "cannot read /nowhere/hook",
        ),
        ("otlp = \"https://127.0.0.1:1/\"\notlp-ca = \"/nowhere/ca\"\n", "cannot read /nowhere/ca"),
        ("journald = \"/nowhere/journal\"\n", "no journal at /nowhere/journal"),
    ];
    for (text, wanted) in cases {
        let (code, out, err) = checked(&format!("all = true\n{text}"));
        assert_eq!((code, out.as_str()), (2, ""), "{text}: {err}");
        assert!(err.contains(wanted), "{text}: {err}");
    }
    // An address that is taken is none of its business: nobody listens.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    for text in [
        format!("metrics = \"{taken}\"\n"),
        "metrics = \"0.0.0.0:0\"\nmetrics-insecure = true\n".to_owned(),
    ] {
        let (code, _, err) = checked(&format!("all = true\n{text}"));
        assert_eq!(code, 0, "{text}: {err}");
    }
}

#[test]
fn flags_win_over_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("loiter.toml");
    write(&path, "all = true\ninterval = \"5s\"\n");
    let path = path.to_str().unwrap();
    let output = run(&["watch", "--check-config", "--config", path, "--interval", "7s"]);
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(out.contains("interval = \"7s\"") && out.contains("all = true"), "{out}");
}

#[test]
fn a_configuration_is_read_again_on_sighup_and_a_wrong_one_changes_nothing() {
    or_skip!(need_bpf());
    let exe = or_skip!(still());
    let dir = tempfile::tempdir().unwrap();
    let (one, other) =
        (named(&exe, dir.path(), "daemon-one"), named(&exe, dir.path(), "daemon-two"));
    let (one, other) = (start(&one, 5), start(&other, 5));
    let path = dir.path().join("loiter.toml");
    let text = |name: &str, more: &str| {
        format!("all = true\nname = [\"{name}\"]\nsettle = \"50ms\"\nformat = \"jsonl\"\n{more}")
    };
    write(&path, &text("daemon-one", ""));
    let mut loiter = Loiter::start(&["watch", "--config", path.to_str().unwrap()]);
    loiter.wait_line("the first is watched", |line| watches(line, one.pid()));

    write(&path, "all = true\nbugdet = \"1%\"\n");
    loiter.signal(libc::SIGHUP);
    let told = loiter.wait_message("the old one stays");
    assert!(told.contains("did you mean `budget`?"), "{told}");

    write(&path, &text("daemon-two", "ring-size = \"1MiB\"\nstuck-after = \"5s\"\n"));
    loiter.signal(libc::SIGHUP);
    let told = loiter.wait_message("was read again");
    assert!(told.contains("a restart is needed for `ring-size`"), "{told}");
    loiter.wait_line("the first is let go", |line| sums_up(line, one.pid()));
    loiter.wait_line("the second is watched", |line| watches(line, other.pid()));

    write(&path, &text("daemon-*", ""));
    loiter.signal(libc::SIGHUP);
    let at = loiter.lines.len();
    loiter.wait_line_after(at, "the first is watched again", |line| watches(line, one.pid()));
    let (code, _, lines) = loiter.interrupt();
    assert_eq!(code, 0);
    // The second one was followed all the time.
    assert_eq!(lines.iter().filter(|line| watches(line, other.pid())).count(), 1);
}
