//! The Debian package under systemd: a small Debian in a virtual machine, in which the package is installed, its service started with all
//! its hardening, reloaded, supervised and stopped, and the package removed again.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::cpio::Cpio;
use super::machine::{self, Mebibytes, one};
use super::{Row, timed};
use crate::setup::versions::{self, Kernel};
use crate::{dist, go, loiter};

/// Of each machine: its file system lies in there twice while it boots.
const MEMORY: Mebibytes = Mebibytes(2048);

/// What of Debian is of no use here.
const LEFT_OUT: &[&str] =
    &["usr/share/doc", "usr/share/locale", "usr/share/man", "usr/share/i18n", "usr/lib/udev"];

/// What the machine is for: nothing else is started.
const TARGET: &str =
    "[Unit]\nRequires=basic.target observer.service\nAfter=basic.target\nAllowIsolate=yes\n";
const OBSERVER: &str = "[Unit]\nAfter=basic.target systemd-journald.service\n[Service]\nExecStart=/observer\nStandardOutput=journal+console\nLimitNOFILE=4096\n";
const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n";
const GROUP: &str = "root:x:0:\ntty:x:5:\nutmp:x:43:\nsystemd-journal:x:101:\n";

/// What each step has to say. All of them end with 0 besides.
const EXPECTED: &[(&str, &[&str])] = &[
    ("install", &[]),
    ("installed", &["UnitFileState=disabled", "ActiveState=inactive"]),
    ("check-config", &["loiter.toml: right"]),
    ("start", &[]),
    ("started", &["UnitFileState=enabled", "ActiveState=active", "SubState=running"]),
    ("process", &["NoNewPrivs:\t1", "Seccomp:\t2"]),
    ("healthz", &[]),
    ("readyz", &[]),
    ("all", &[]),
    ("reload", &[]),
    ("reloaded", &[]),
    ("reload-broken", &[]),
    ("still", &["ActiveState=active"]),
    ("reload-back", &[]),
    ("back", &[]),
    ("watchdog", &[]),
    ("stop", &[]),
    ("stopped", &["ActiveState=inactive", "Result=success", "ExecMainStatus=0", "NRestarts=0"]),
    ("journal", &["no-such-key"]),
    ("restarted", &["1 active"]),
    ("upgrade", &[]),
    ("upgraded", &["active, another process true"]),
    ("remove", &[]),
    ("removed", &["process false binary false config true"]),
    ("purge", &[]),
    ("purged", &["left: "]),
    ("service-ended", &[]),
];

/// A row for each kernel.
pub fn rows(kernels: &[&Kernel], binary: &Path) -> Vec<Row> {
    let made = tempfile::tempdir()
        .context("cannot create a temporary directory")
        .and_then(|dir| file_system(&dist::debian_package(binary, dir.path())?));
    kernels.iter().map(|kernel| row(kernel, &made)).collect()
}

fn row(kernel: &Kernel, files: &Result<Vec<u8>>) -> Row {
    timed(&format!("systemd {}", kernel.series), || {
        let files = files.as_ref().map_err(|error| anyhow::anyhow!("{error:#}"))?;
        Ok((judge(&machine::boot(kernel, files, MEMORY)?)?, true))
    })
}

fn file_system(package: &Path) -> Result<Vec<u8>> {
    let version = versions::GO_NEWEST;
    let source = go::workspace().join("xtask/src/soak/under_systemd");
    let observer = machine::built(go::go_build_dir(version, &source, go::Variant::Deployed))?;
    let service = machine::built(go::go_build(version, "leaks", go::Variant::Deployed))?;
    let mut files = Cpio::default();
    files.tree(&versions::debian_root(), LEFT_OUT)?;
    for dir in ["dev", "proc", "sys", "run", "tmp", "root"] {
        files.directory(dir)?;
    }
    files.console()?;
    files.link("init", Path::new("usr/lib/systemd/systemd"))?;
    files.file("etc/passwd", PASSWD.as_bytes())?;
    files.file("etc/group", GROUP.as_bytes())?;
    files.file("etc/hostname", b"soak\n")?;
    files.file("etc/machine-id", b"0123456789abcdef0123456789abcdef\n")?;
    files.file("etc/systemd/system/observer.service", OBSERVER.as_bytes())?;
    files.file("etc/systemd/system/observer.target", TARGET.as_bytes())?;
    files.link("etc/systemd/system/default.target", Path::new("observer.target"))?;
    // dpkg's own memory: nothing was installed through it.
    for dir in ["var/lib/dpkg", "var/lib/dpkg/info", "var/lib/dpkg/updates", "var/log"] {
        files.directory(dir)?;
    }
    files.file("var/lib/dpkg/status", b"")?;
    files.program("observer", &observer)?;
    files.program("service", &service)?;
    files.file("loiter.deb", &machine::built(Ok(package.to_path_buf()))?)?;
    files.finish()
}

/// What was told, in a line.
///
/// # Errors
/// Names the first step that was not as it should be.
fn judge(told: &[Value]) -> Result<String> {
    for (name, needed) in EXPECTED {
        let step = one(told, name)?;
        let said = step["stdout"].as_str().unwrap_or_default();
        let missing = needed.iter().find(|part| !said.contains(**part));
        if step["code"] != 0 || missing.is_some() {
            let journal = one(told, "journal").map(|it| it["stdout"].clone()).unwrap_or_default();
            bail!("{name}: not as expected ({missing:?}): {step}; the journal: {journal}");
        }
    }
    let left = text(told, "purged")?;
    ensure!(left.trim() == "left:", "a purge left something: {left}");
    Ok(format!(
        "installed, active, {}, reloaded, watchdog fed, stopped with 0, restarted when it hung and when upgraded, removed, purged",
        watched(text(told, "journal")?)?
    ))
}

/// What was seen of the service until the stop.
fn watched(journal: &str) -> Result<String> {
    let own: String =
        journal.lines().filter(|line| line.starts_with('{')).flat_map(|l| [l, "\n"]).collect();
    let lines = loiter::json_lines(own.as_bytes())?;
    let summaries = loiter::of_schema(&lines, "loiter.summary/1");
    let summary = summaries.iter().find(|it| it["process"]["exe"] == "/service");
    let summary = summary.context("the journal has no summary of the service")?;
    let births = summary["births"].as_u64().unwrap_or(0);
    let lost = loiter::lost(summary);
    ensure!(births > 0 && lost == 0, "{births} births, {lost} lost: {summary}");
    Ok(format!("{births} births {lost} lost"))
}

fn text<'a>(told: &'a [Value], name: &str) -> Result<&'a str> {
    one(told, name)?["stdout"].as_str().with_context(|| format!("{name} told nothing"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn told(change: &str, stdout: &str) -> Vec<Value> {
        let summary = json!({"schema": "loiter.summary/1", "process": {"exe": "/service"}, "births": 3, "lost": {"ring_full": 0}});
        let steps = EXPECTED.iter().map(|(name, needed)| {
            let said = match *name {
                name if name == change => stdout.to_owned(),
                "journal" => format!("no-such-key\n{summary}\n"),
                _ => needed.join("\n"),
            };
            json!({"name": name, "code": 0, "stdout": said})
        });
        steps.collect()
    }

    #[test]
    fn a_step_that_is_not_as_it_should_be_is_named() {
        assert!(judge(&told("", "")).unwrap().contains("3 births 0 lost"));
        for (step, said) in
            [("started", "ActiveState=failed"), ("purged", "left: /etc/x"), ("journal", "")]
        {
            let error = judge(&told(step, said)).unwrap_err().to_string();
            assert!(error.contains("not as expected") || error.contains("/etc/x"), "{error}");
        }
    }
}
