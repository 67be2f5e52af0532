//! The Debian package in the hands of Debian's own tools: installed, changed, removed and purged in a root of its own, and checked
//! by lintian. `cargo xtask soak systemd` does the same under a running systemd.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::made::{debian, output};
use crate::common::go::workspace;
use crate::common::{loiter, skipped};

const CONFIG: &str = "etc/loiter/loiter.toml";

/// A root directory in which nothing is installed.
struct Root {
    dir: tempfile::TempDir,
}

impl Root {
    fn new() -> Root {
        let dir = tempfile::tempdir().unwrap();
        for path in ["var/lib/dpkg/info", "var/lib/dpkg/updates"] {
            fs::create_dir_all(dir.path().join(path)).unwrap();
        }
        fs::write(dir.path().join("var/lib/dpkg/status"), "").unwrap();
        Root { dir }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn has(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// dpkg for this root. Scripts of packages run outside of it, since there is no shell in it, and are told of it.
    #[track_caller]
    fn dpkg(&self, args: &[&str]) -> String {
        let mut dpkg = Command::new("dpkg");
        dpkg.arg(format!("--root={}", self.dir.path().display()));
        dpkg.args(["--force-not-root", "--force-script-chrootless", "--log=/dev/null"]);
        output(dpkg.args(args))
    }

    /// What dpkg knows of the package: `installed`, `config-files`, `not-installed`.
    fn state(&self) -> String {
        let mut query = Command::new("dpkg-query");
        query.arg(format!("--admindir={}", self.path("var/lib/dpkg").display()));
        let done = query.args(["--show", "--showformat=${db:Status-Status}", "loiter"]).output();
        let done = done.unwrap();
        match done.status.success() {
            true => String::from_utf8(done.stdout).unwrap(),
            false => "not-installed".to_owned(),
        }
    }
}

#[test]
fn the_debian_package_is_installed_whole_and_goes_without_a_trace_when_it_is_purged() {
    let made = tempfile::tempdir().unwrap();
    let package = debian(made.path());
    let package = package.to_str().unwrap();
    let root = Root::new();
    root.dpkg(&["--install", package]);
    is_whole(&root);
    what_the_administrator_wrote_stays(&root, package);
    fs::create_dir_all(root.path("var/lib/loiter")).unwrap();
    root.dpkg(&["--remove", "loiter"]);
    assert_eq!(root.state(), "config-files");
    assert!(!root.has("usr/bin/loiter") && !root.has("usr/lib/systemd/system/loiter.service"));
    assert!(root.has(CONFIG) && root.has("var/lib/loiter"), "removed is not purged");
    root.dpkg(&["--purge", "loiter"]);
    assert_eq!(root.state(), "not-installed");
    let mut left = Vec::new();
    files_below(root.dir.path(), &mut left);
    left.retain(|path| !path.starts_with(root.path("var/lib/dpkg")));
    assert!(left.is_empty() && !root.has("etc/loiter") && !root.has("var/lib/loiter"), "{left:?}");
}

/// Everything is where it is looked for, and nothing is enabled.
fn is_whole(root: &Root) {
    assert_eq!(root.state(), "installed");
    for path in [
        "usr/bin/loiter",
        "usr/lib/systemd/system/loiter.service",
        "usr/share/man/man1/loiter.1.gz",
        "usr/share/man/man1/loiter-watch.1.gz",
        "usr/share/bash-completion/completions/loiter",
        "usr/share/zsh/vendor-completions/_loiter",
        "usr/share/fish/vendor_completions.d/loiter.fish",
        "usr/share/doc/loiter/copyright",
        "usr/share/doc/loiter/changelog.gz",
        "usr/share/doc/loiter/CHANGELOG.md.gz",
        "usr/share/doc/loiter/third-party.txt.gz",
        CONFIG,
    ] {
        assert!(root.path(path).is_file(), "{path}");
    }
    assert!(!root.has("etc/systemd"), "installing enables nothing");
    root.dpkg(&["--verify", "loiter"]);
    let fields = fs::read_to_string(root.path("var/lib/dpkg/status")).unwrap();
    assert!(!fields.contains("Depends"), "a static binary needs no other package: {fields}");
    let page = root.path("usr/share/man/man1/loiter-watch.1.gz");
    let page = output(Command::new("gzip").arg("-dc").arg(page));
    assert!(page.contains(".TH") && page.contains("SYNOPSIS"), "{page}");
    let unit = fs::read_to_string(root.path("usr/lib/systemd/system/loiter.service")).unwrap();
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let (binary, config) = ("/usr/bin/loiter watch ", format!("--config /{CONFIG}"));
    assert!(start.starts_with(binary) && start.ends_with(&config), "{start}");
    let config = root.path(CONFIG);
    let config = config.to_str().unwrap();
    let said = output(&mut loiter::command(&["watch", "--check-config", "--config", config]));
    assert!(said.contains(": right\n"), "{said}");
}

/// Also when the package is installed over itself.
fn what_the_administrator_wrote_stays(root: &Root, package: &str) {
    let was = fs::read_to_string(root.path(CONFIG)).unwrap();
    let own = format!("{was}\nname = [\"orders*\"]\n");
    fs::write(root.path(CONFIG), &own).unwrap();
    root.dpkg(&["--install", package]);
    assert_eq!(fs::read_to_string(root.path(CONFIG)).unwrap(), own);
}

fn files_below(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files_below(&path, found) } else { found.push(path) }
    }
}

#[test]
fn lintian_finds_no_fault_with_the_debian_package() {
    let made = tempfile::tempdir().unwrap();
    let package = debian(made.path());
    let mut lintian = Command::new("lintian");
    lintian.args(["--no-cfg", "--fail-on", "error,warning"]).arg(package);
    let Ok(done) = lintian.output() else {
        return skipped("the Debian package", "there is no lintian (Debian: lintian)");
    };
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && said.is_empty(), "{said}");
}

#[test]
fn every_setting_of_the_configuration_that_is_not_set_tells_its_default() {
    let text = fs::read_to_string(workspace().join("deploy/systemd/loiter.toml")).unwrap();
    let config = workspace().join("deploy/systemd/loiter.toml");
    let config = config.to_str().unwrap();
    let told = output(&mut loiter::command(&["watch", "--check-config", "--config", config]));
    let settings = ["settle", "max-targets", "budget"];
    for setting in settings {
        let line = text.lines().find(|line| line.starts_with(&format!("# {setting} = ")));
        let line = line.unwrap_or_else(|| panic!("{setting} is not told"));
        assert!(told.contains(&format!("{line}  # default\n")), "{line} is not in {told}");
    }
}
