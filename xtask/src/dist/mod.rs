//! `cargo xtask dist`: what users get. One static binary, and that binary as an archive, a Debian package and a
//! container image; with what is in it, and checksums. The same commit gives the same bytes.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::progress::step;
use crate::setup::{self, Need, versions};
use crate::{go, loiter, run};

mod build;
mod check;
mod crates;
mod deb;
mod files;
mod image;
mod licences;
mod sbom;

use files::File;

/// Arguments of `cargo xtask dist`.
#[derive(clap::Args)]
pub struct Args {
    /// What to make; without it everything
    #[arg(value_enum)]
    what: Vec<Part>,
    /// Where it goes
    #[arg(long, value_name = "DIR", default_value_os_t = go::target_dir().join("dist"))]
    to: PathBuf,
    /// Pack this binary as it is, instead of building one
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Then run the binary and the image in an empty directory tree, against a program outside of it (root)
    #[arg(long)]
    check: bool,
}

/// A thing that is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Part {
    /// The binary with man pages and completions: .tar.gz
    Archive,
    /// The Debian package
    Deb,
    /// The container image: an OCI layout in a tar archive, for docker load too
    Image,
    /// The bill of materials (CycloneDX) and the licences of others
    Sbom,
}

/// What is said of a release everywhere.
pub struct Release {
    version: String,
    /// The commit; with `-modified` if the sources are not its, empty if there is none.
    commit: String,
    /// The time of everything in it: seconds since 1970.
    epoch: u64,
    licence: String,
    description: String,
    repository: String,
}

impl Release {
    /// The time of everything in it, RFC 3339.
    ///
    /// # Errors
    /// If it is beyond the calendar.
    fn created(&self) -> Result<String> {
        Ok(self.time()?.to_string())
    }

    fn time(&self) -> Result<jiff::Timestamp> {
        let seconds = i64::try_from(self.epoch).context("SOURCE_DATE_EPOCH is too large")?;
        jiff::Timestamp::from_second(seconds).context("SOURCE_DATE_EPOCH is too large")
    }
}

/// A shell that completions are made for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Shell {
    const ALL: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

    fn name(self) -> &'static str {
        match self {
            Shell::Bash => "bash",
            Shell::Zsh => "zsh",
            Shell::Fish => "fish",
        }
    }

    /// Where the shell looks for what a package brings.
    fn place(self) -> &'static str {
        match self {
            Shell::Bash => "usr/share/bash-completion/completions/loiter",
            Shell::Zsh => "usr/share/zsh/vendor-completions/_loiter",
            Shell::Fish => "usr/share/fish/vendor_completions.d/loiter.fish",
        }
    }
}

/// What comes with the binary.
struct Extras {
    manual: Vec<File>,
    completions: Vec<(Shell, Vec<u8>)>,
    third_party: String,
}

/// `cargo xtask dist`
///
/// # Errors
/// If something is missing, does not build, may not be shipped, or is not as promised.
pub fn run(args: &Args) -> Result<()> {
    let crates = crates::all()?;
    licences::check(&crates)?;
    fs::create_dir_all(&args.to).with_context(|| format!("cannot create {}", args.to.display()))?;
    let epoch = epoch()?;
    let binary = args.to.join("loiter");
    let mut made = vec!["loiter".to_owned()];
    match &args.binary {
        Some(given) => {
            fs::copy(given, &binary).with_context(|| format!("cannot copy {}", given.display()))?;
        }
        None => {
            let built = static_binary()?;
            build::split(&built, &binary, &args.to.join("loiter.debug"))?;
            made.push("loiter.debug".to_owned());
        }
    }
    let bytes = files::read(&binary)?;
    if args.binary.is_none() {
        check::binary(&bytes)?;
    }
    let release = describe(&binary, epoch)?;
    let parts = if args.what.is_empty() { Part::value_variants() } else { &args.what };
    made.extend(step("Packing", || pack(&release, &crates, &bytes, parts, &args.to))?);
    sums(&args.to, &made)?;
    tell(&release, &args.to, &made)?;
    if args.check { run_it(&args.to) } else { Ok(()) }
}

/// The static binary alone, with its symbols.
///
/// # Errors
/// If something is missing, or it does not build.
pub fn static_binary() -> Result<PathBuf> {
    setup::ensure(&[Need::Bpf, Need::Cgo])?;
    let epoch = epoch()?;
    step("Building loiter, static", || build::binary(epoch))
}

/// The Debian package of a binary that is packed as it is; without its symbols.
///
/// # Errors
/// If something is missing, or may not be shipped.
pub fn debian_package(binary: &Path, into: &Path) -> Result<PathBuf> {
    let crates = crates::all()?;
    licences::check(&crates)?;
    let place = into.join("loiter");
    build::split(binary, &place, &into.join("loiter.debug"))?;
    let release = describe(&place, epoch()?)?;
    let bytes = files::read(&place)?;
    let made = pack(&release, &crates, &bytes, &[Part::Deb], into)?;
    Ok(into.join(made.first().context("no package was made")?))
}

/// When the commit was made, unless the environment says otherwise (reproducible-builds.org).
fn epoch() -> Result<u64> {
    let given = std::env::var("SOURCE_DATE_EPOCH").ok();
    let told = match given {
        Some(given) => given,
        None => run::quiet(run::command("git").args(["log", "-1", "--format=%ct"]))
            .context("outside of git SOURCE_DATE_EPOCH has to say the time of the release")?,
    };
    told.trim().parse().context("SOURCE_DATE_EPOCH is no number of seconds")
}

/// What the binary says of itself, and the workspace of it.
fn describe(binary: &Path, epoch: u64) -> Result<Release> {
    let told = loiter::output(binary, &["version", "--format", "json"])?;
    let told: Value = serde_json::from_slice(&told.stdout).context("its version is no JSON")?;
    let commit = told["commit"].as_str().unwrap_or_default();
    let mark = if told["modified"] == true { "-modified" } else { "" };
    Ok(Release {
        version: told["version"].as_str().context("it says no version")?.to_owned(),
        commit: format!("{commit}{mark}"),
        epoch,
        licence: env!("CARGO_PKG_LICENSE").to_owned(),
        description:
            "Finds the tasks that linger: an eBPF task tracer for unmodified, running programs"
                .to_owned(),
        repository: env!("CARGO_PKG_REPOSITORY").to_owned(),
    })
}

fn extras(binary: &Path, crates: &[crates::Crate]) -> Result<Extras> {
    let dir = tempfile::tempdir().context("cannot create a temporary directory")?;
    run::quiet(run::command(binary).arg("manual").arg(dir.path()))?;
    let mut manual = Vec::new();
    for page in files::list(dir.path())? {
        let name = page.file_name().unwrap_or_default().to_string_lossy().into_owned();
        manual.push(File::copy(&page, name)?);
    }
    let completions = Shell::ALL.map(|shell| {
        let script = loiter::output(binary, &["completions", shell.name()])?;
        Ok((shell, script.stdout))
    });
    Ok(Extras {
        manual,
        completions: completions.into_iter().collect::<Result<_>>()?,
        third_party: sbom::third_party(crates)?,
    })
}

/// Makes the parts; gives the names of the files.
fn pack(
    release: &Release,
    crates: &[crates::Crate],
    bytes: &[u8],
    parts: &[Part],
    to: &Path,
) -> Result<Vec<String>> {
    let extras = extras(&to.join("loiter"), crates)?;
    let version = &release.version;
    let mut made = Vec::new();
    let mut keep = |name: String, content: &[u8]| {
        files::write(&to.join(&name), content)?;
        made.push(name);
        anyhow::Ok(())
    };
    for part in parts {
        match part {
            Part::Archive => {
                let name = format!("loiter-{version}-x86_64-linux");
                let files = files::tar(&archive(&name, bytes, &extras)?, release.epoch)?;
                keep(format!("{name}.tar.gz"), &files::gzip(&files)?)?;
            }
            Part::Deb => {
                let name = format!("loiter_{version}_amd64.deb");
                let content = deb::content(release, bytes, &extras)?;
                let temporary =
                    tempfile::tempdir().context("cannot create a temporary directory")?;
                let package = temporary.path().join(&name);
                deb::write(release, &content, &package)?;
                keep(name, &files::read(&package)?)?;
            }
            Part::Image => {
                keep(format!("loiter-{version}.oci.tar"), &image::archive(release, bytes)?)?;
            }
            Part::Sbom => {
                let bom = sbom::cyclonedx(release, crates, &sha256(bytes))?;
                keep(format!("loiter-{version}.cdx.json"), &bom)?;
                keep(format!("loiter-{version}.third-party.txt"), extras.third_party.as_bytes())?;
            }
        }
    }
    Ok(made)
}

/// The binary and what comes with it, to be unpacked anywhere.
fn archive(name: &str, binary: &[u8], extras: &Extras) -> Result<Vec<File>> {
    let mut all = vec![
        File::program(format!("{name}/loiter"), binary),
        File::plain(format!("{name}/third-party.txt"), extras.third_party.as_bytes()),
    ];
    for file in ["README.md", "CHANGELOG.md", "LICENSE", "LICENSE-APACHE", "LICENSE-MIT"] {
        all.push(File::copy(&go::workspace().join(file), format!("{name}/{file}"))?);
    }
    for page in &extras.manual {
        all.push(File::plain(format!("{name}/man/{}", page.path), page.content.as_slice()));
    }
    for (shell, script) in &extras.completions {
        all.push(File::plain(
            format!("{name}/completions/loiter.{}", shell.name()),
            script.as_slice(),
        ));
    }
    Ok(all)
}

/// SHA-256 in hex.
fn sha256(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes `SHA256SUMS`, in the form of `sha256sum`.
fn sums(dir: &Path, made: &[String]) -> Result<()> {
    let mut lines = Vec::new();
    for name in made {
        lines.push(format!("{}  {name}\n", sha256(&files::read(&dir.join(name))?)));
    }
    files::write(&dir.join("SHA256SUMS"), lines.concat().as_bytes())
}

fn tell(release: &Release, dir: &Path, made: &[String]) -> Result<()> {
    println!("loiter {} {}, in {}:", release.version, release.commit, dir.display());
    for name in made {
        let path = dir.join(name);
        let size =
            fs::metadata(&path).with_context(|| format!("cannot read {}", path.display()))?;
        println!("{:>12} bytes  {name}", size.len());
    }
    Ok(())
}

/// The tests of what is shipped, with what was made here.
fn run_it(dir: &Path) -> Result<()> {
    setup::ensure(&[Need::Go(versions::GO_SHORT), Need::PackageChecker])?;
    let dir = dir.canonicalize().with_context(|| format!("cannot find {}", dir.display()))?;
    let mut test = run::cargo();
    test.args(["test", "--package", "tracer-user", "--test", "packages", "--", "--show-output"]);
    test.env("LOITER_DIST", dir).env("LOITER_NO_SKIP", "1");
    run::loud(&mut test)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn no_licence_forbids_what_is_shipped() {
        licences::check(&crates::all().unwrap()).unwrap();
    }

    #[test]
    fn a_digest_is_written_as_other_tools_write_it() {
        assert_eq!(
            sha256(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
