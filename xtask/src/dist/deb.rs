//! The Debian package: binary, man pages, completions, unit and its configuration. Nothing is started by installing it; the scripts in
//! `deploy/debian` see to services that run when it is upgraded or removed.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::files::{self, File};
use super::{Extras, Release};
use crate::{go, run};

/// Whom the package names. There is no address for mail.
const MAINTAINER: &str = "The loiter authors <loiter@localhost>";

/// What dpkg runs.
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

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
    let history = changelog(release)?;
    all.push(File::plain(format!("{doc}/changelog.gz"), files::gzip(history.as_bytes())?));
    let changes = files::read(&go::workspace().join("CHANGELOG.md"))?;
    all.push(File::plain(format!("{doc}/CHANGELOG.md.gz"), files::gzip(&changes)?));
    let others = files::gzip(extras.third_party.as_bytes())?;
    all.push(File::plain(format!("{doc}/third-party.txt.gz"), others));
    for (from, to) in [
        ("systemd/loiter.service", "usr/lib/systemd/system/loiter.service"),
        ("systemd/loiter.toml", "etc/loiter/loiter.toml"),
        ("debian/lintian-overrides", "usr/share/lintian/overrides/loiter"),
    ] {
        all.push(File::copy(&deploy(from), to)?);
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
    about.push(File::plain("DEBIAN/conffiles", settings));
    for script in SCRIPTS {
        let text = files::read(&deploy(&format!("debian/{script}")))?;
        about.push(File::program(format!("DEBIAN/{script}"), text));
    }
    files::unpack(&about, &root, release.epoch)?;
    let mut pack = run::command("dpkg-deb");
    pack.args(["--build", "--root-owner-group", "-Zxz"]).arg(&root).arg(to);
    pack.env("SOURCE_DATE_EPOCH", release.epoch.to_string());
    run::quiet(&mut pack).map(|_| ())
}

fn deploy(path: &str) -> PathBuf {
    go::workspace().join("deploy").join(path)
}

/// The package's own history, in the form that Debian's tools read. What changed in loiter is told beside it.
fn changelog(release: &Release) -> Result<String> {
    let time = release.time()?.strftime("%a, %d %b %Y %H:%M:%S +0000");
    Ok(format!(
        "loiter ({}) unstable; urgency=medium\n\n  * Changes of this version: CHANGELOG.md.gz, beside this file.\n\n -- {MAINTAINER}  {time}\n",
        release.version
    ))
}

fn control(release: &Release, content: &[File]) -> String {
    let kibibytes: usize = content.iter().map(|file| file.content.len().div_ceil(1024)).sum();
    format!(
        "Package: loiter\nVersion: {}\nArchitecture: amd64\nMaintainer: {MAINTAINER}\n\
         Installed-Size: {kibibytes}\nSection: utils\nPriority: optional\nDescription: finds the tasks that linger in running programs\n \
         Looks at unmodified, running programs from outside, through eBPF and\n \
         their memory, and says which goroutines or threads are stuck, where they\n \
         were started, where they wait, since when and on what.\n \
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
