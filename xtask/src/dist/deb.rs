//! The Debian package: binary, man pages, completions, unit. Nothing is started by installing it.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::files::{self, File};
use super::{Extras, Release};
use crate::{go, run};

/// Everything the package installs.
///
/// # Errors
/// If a file of the source tree cannot be read.
pub fn content(release: &Release, binary: &[u8], extras: &Extras) -> Result<Vec<File>> {
    let mut all = vec![File::program("usr/bin/loiter", binary)];
    for page in &extras.manual {
        all.push(File::plain(
            format!("usr/share/man/man1/{}.gz", page.path),
            files::gzip(&page.content)?,
        ));
    }
    for (shell, script) in &extras.completions {
        all.push(File::plain(shell.place(), script.as_slice()));
    }
    let doc = "usr/share/doc/loiter";
    all.push(File::plain(format!("{doc}/copyright"), copyright(release)?));
    let changes = files::read(&go::workspace().join("CHANGELOG.md"))?;
    all.push(File::plain(format!("{doc}/changelog.gz"), files::gzip(&changes)?));
    let others = files::gzip(extras.third_party.as_bytes())?;
    all.push(File::plain(format!("{doc}/third-party.txt.gz"), others));
    for (from, to) in [
        ("loiter.service", "usr/lib/systemd/system/loiter.service"),
        ("loiter.toml", "etc/loiter/loiter.toml"),
    ] {
        let from = go::workspace().join("deploy/systemd").join(from);
        if from.is_file() {
            all.push(File::copy(&from, to)?);
        }
    }
    Ok(all)
}

/// Writes the package.
///
/// # Errors
/// If `dpkg-deb` is missing or refuses.
pub fn write(release: &Release, content: &[File], to: &Path) -> Result<()> {
    let temporary = tempfile::tempdir().context("cannot create a temporary directory")?;
    let root = temporary.path().join("loiter");
    files::unpack(content, &root, release.epoch)?;
    let mut about = vec![
        File::plain("DEBIAN/control", control(release, content)),
        File::plain("DEBIAN/md5sums", sums(content, &root)?),
    ];
    let settings: String = content
        .iter()
        .filter(|file| file.path.starts_with("etc/"))
        .map(|file| format!("/{}\n", file.path))
        .collect();
    if !settings.is_empty() {
        about.push(File::plain("DEBIAN/conffiles", settings));
    }
    files::unpack(&about, &root, release.epoch)?;
    let mut pack = run::command("dpkg-deb");
    pack.args(["--build", "--root-owner-group", "-Zxz"]).arg(&root).arg(to);
    pack.env("SOURCE_DATE_EPOCH", release.epoch.to_string());
    run::quiet(&mut pack).map(|_| ())
}

fn control(release: &Release, content: &[File]) -> String {
    let kibibytes: usize = content.iter().map(|file| file.content.len().div_ceil(1024)).sum();
    format!(
        "Package: loiter\nVersion: {}\nArchitecture: amd64\nMaintainer: The loiter authors <loiter@localhost>\n\
         Installed-Size: {kibibytes}\nSection: utils\nPriority: optional\nDescription: finds the tasks that linger in running programs\n \
         Looks at unmodified, running programs from outside, through eBPF and their memory, and says which\n \
         goroutines or threads are stuck, where they were started, where they wait, since when and on what.\n \
         .\n Needs Linux 5.15 or later, and root or CAP_BPF, CAP_PERFMON and CAP_SYS_PTRACE.\n",
        release.version
    )
}

/// What `dpkg --verify` compares with.
fn sums(content: &[File], root: &Path) -> Result<String> {
    let mut paths: Vec<&str> = content.iter().map(|file| file.path.as_str()).collect();
    paths.sort_unstable();
    run::quiet(run::command("md5sum").args(paths).current_dir(root))
}

/// In the form of Debian's policy (copyright-format 1.0).
fn copyright(release: &Release) -> Result<String> {
    let mit = String::from_utf8(files::read(&go::workspace().join("LICENSE-MIT"))?)
        .context("LICENSE-MIT is not UTF-8")?;
    let mut text = format!(
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: loiter\n\
         Comment: The binary contains other libraries: third-party.txt.gz names them, with their licences.\n\n\
         Files: *\nCopyright: the loiter authors\nLicense: {}\n\n\
         License: Apache-2.0\n See /usr/share/common-licenses/Apache-2.0.\n\nLicense: MIT\n",
        release.licence.replace(" OR ", " or ")
    );
    for line in mit.lines() {
        let line = if line.trim().is_empty() { "." } else { line };
        let _ = writeln!(text, " {line}");
    }
    Ok(text)
}
