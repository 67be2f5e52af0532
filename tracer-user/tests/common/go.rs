//! Go toolchains, and the programs of workloads/go built by them. Builds are kept by toolchain,
//! variant and source, under a lock, so that tests and processes that run side by side build once.
//! Standard library only: `cargo xtask` compiles this file as well.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The Go versions loiter is tested with. The first is Debian's; the others are what `cargo xtask setup` fetches.
pub const GO_VERSIONS: [&str; 8] =
    ["1.19", "1.21.13", "1.22.10", "1.23.9", "1.24.11", "1.25.5", "1.26.6", "1.27.3"];

/// The versions of the short set: the oldest, the newest, and those between where the runtime changed.
pub const SHORT_GO_VERSIONS: [&str; 5] = ["1.19", "1.21.13", "1.22.10", "1.24.11", "1.27.3"];

/// The oldest of them.
pub const OLDEST_GO: &str = GO_VERSIONS[0];

/// The newest of them.
pub const NEWEST_GO: &str = GO_VERSIONS[GO_VERSIONS.len() - 1];

/// Where Debian puts its toolchain.
const DEBIAN_GO: &str = "/usr/lib/go-1.19/bin/go";

/// How a program is built.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Variant {
    /// `go build`, pure Go.
    Default,
    /// `-ldflags "-s -w"`: no symbol table, no DWARF.
    Stripped,
    /// `-trimpath`
    Trimpath,
    /// `-trimpath -ldflags "-s -w"`: as programs are often deployed.
    Deployed,
    /// `-buildmode=pie`, linked by Go's own linker.
    Pie,
    /// With cgo, linked as Go pleases.
    Cgo,
    /// With cgo, by the system's linker as a position independent executable, stripped.
    ExternalPie,
    /// With cgo, by the system's linker.
    External,
    /// With cgo, by the system's linker, without shared libraries.
    Static,
    /// With the race detector.
    Race,
    /// Optimised by a profile that inlines parts of the scheduler.
    Pgo,
    /// `-gcflags=all=-l`: nothing is inlined.
    NoInline,
    /// `-gcflags=all="-N -l"`: not optimised.
    Debug,
    /// `-buildmode=c-shared`: a library, to be loaded by a C program.
    CShared,
}

impl Variant {
    /// The variants that are one executable.
    pub const EXECUTABLES: [Variant; 12] = [
        Variant::Default,
        Variant::Stripped,
        Variant::Trimpath,
        Variant::Pie,
        Variant::Cgo,
        Variant::ExternalPie,
        Variant::External,
        Variant::Static,
        Variant::Race,
        Variant::Pgo,
        Variant::NoInline,
        Variant::Debug,
    ];

    /// Its name in file names and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Variant::Default => "default",
            Variant::Stripped => "stripped",
            Variant::Trimpath => "trimpath",
            Variant::Deployed => "deployed",
            Variant::Pie => "pie",
            Variant::Cgo => "cgo",
            Variant::ExternalPie => "external-pie",
            Variant::External => "external",
            Variant::Static => "static",
            Variant::Race => "race",
            Variant::Pgo => "pgo",
            Variant::NoInline => "no-inline",
            Variant::Debug => "debug",
            Variant::CShared => "c-shared",
        }
    }

    const fn needs_cgo(self) -> bool {
        matches!(
            self,
            Variant::Cgo
                | Variant::ExternalPie
                | Variant::External
                | Variant::Static
                | Variant::Race
                | Variant::CShared
        )
    }

    fn arguments(self, profile: &Path) -> Vec<String> {
        let words: &[&str] = match self {
            Variant::Default | Variant::Cgo => &[],
            Variant::Stripped => &["-ldflags=-s -w"],
            Variant::Trimpath => &["-trimpath"],
            Variant::Deployed => &["-trimpath", "-ldflags=-s -w"],
            Variant::Pie => &["-buildmode=pie"],
            Variant::ExternalPie => &["-buildmode=pie", "-ldflags=-linkmode=external -s -w"],
            Variant::External => &["-ldflags=-linkmode=external"],
            Variant::Static => {
                &["-tags=netgo,osusergo", "-ldflags=-linkmode=external -extldflags=-static"]
            }
            Variant::Race => &["-race"],
            Variant::Pgo => return vec![format!("-pgo={}", profile.display())],
            Variant::NoInline => &["-gcflags=all=-l"],
            Variant::Debug => &["-gcflags=all=-N -l"],
            Variant::CShared => &["-buildmode=c-shared"],
        };
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    /// Whether this toolchain knows the variant.
    fn supported_by(self, version: &str) -> Result<(), String> {
        match (self, minor(version)) {
            (Variant::Pgo, Some(minor)) if minor < 21 => {
                Err(format!("go {version} has no profile-guided optimisation"))
            }
            _ => Ok(()),
        }
    }
}

/// 27 of `1.27.3`.
pub fn minor(version: &str) -> Option<u32> {
    version.split('.').nth(1)?.parse().ok()
}

/// The root of the workspace.
pub fn workspace() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}

/// Cargo's target directory.
pub fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => workspace().join(dir),
        None => workspace().join("target"),
    }
}

/// Where the toolchains lie: `LOITER_TOOLCHAINS`, else `target/toolchains`.
pub fn toolchains_dir() -> PathBuf {
    match std::env::var_os("LOITER_TOOLCHAINS") {
        Some(dir) => workspace().join(dir),
        None => target_dir().join("toolchains"),
    }
}

/// The `go` command of a version.
///
/// # Errors
/// If it is not installed; says how to get it.
pub fn go_tool(version: &str) -> Result<PathBuf, String> {
    let unpacked = toolchains_dir().join(format!("go-{version}/go/bin/go"));
    if unpacked.is_file() {
        return Ok(unpacked);
    }
    if version == "1.19" && Path::new(DEBIAN_GO).is_file() {
        return Ok(PathBuf::from(DEBIAN_GO));
    }
    Err(format!(
        "the Go {version} toolchain is not installed: `cargo xtask setup --go {version}` fetches it"
    ))
}

/// Builds a program of workloads/go, or takes the one built before.
///
/// # Errors
/// If the version is of the full matrix and that is not asked for, even if its toolchain happens to be there: what
/// passes on a machine that has them all has to pass on one that has what is asked for. If the toolchain is
/// missing, does not know the variant, or cannot build the program.
pub fn go_build(version: &str, program: &str, variant: Variant) -> Result<PathBuf, String> {
    go_build_dir(version, &workspace().join("workloads/go").join(program), variant)
}

/// Builds the Go program in a directory, or takes the one built before.
///
/// # Errors
/// As [`go_build`].
pub fn go_build_dir(version: &str, source: &Path, variant: Variant) -> Result<PathBuf, String> {
    if GO_VERSIONS.contains(&version) && !versions().contains(&version) {
        return Err(format!(
            "Go {version} is of the full matrix only: LOITER_MATRIX=full asks for it"
        ));
    }
    variant.supported_by(version)?;
    let go = go_tool(version)?;
    let program = source
        .file_name()
        .and_then(|name| name.to_str())
        .ok_or_else(|| format!("{} has no name", source.display()))?;
    let profile = profile_for(source);
    let mut arguments = variant.arguments(&profile);
    arguments.insert(0, "build".to_owned());
    let profile = (variant == Variant::Pgo).then_some(profile);
    let words = [version, variant.name(), &arguments.join(" ")];
    let digest = digest(source, profile.as_deref(), &words)?;

    let cache = target_dir().join("workloads").join(program);
    fs::create_dir_all(&cache).map_err(|e| format!("cannot create {}: {e}", cache.display()))?;
    let stem = format!("{version}-{}", variant.name());
    let _lock = lock(&cache.join(format!("{stem}.lock")))?;
    let home = cache.join(format!("{stem}-{digest:016x}"));
    let suffix = if variant == Variant::CShared { ".so" } else { "" };
    let built = home.join(format!("{program}{suffix}"));
    if built.is_file() {
        return Ok(built);
    }
    fs::create_dir_all(&home).map_err(|e| format!("cannot create {}: {e}", home.display()))?;
    let fresh = home.join(format!("{program}.new{suffix}"));
    run_go(&go, source, &arguments, variant, &fresh).map_err(|why| {
        format!("go {version} cannot build {program} ({}): {why}", variant.name())
    })?;
    fs::rename(&fresh, &built).map_err(|e| format!("cannot rename {}: {e}", fresh.display()))?;
    Ok(built)
}

fn run_go(
    go: &Path,
    source: &Path,
    arguments: &[String],
    variant: Variant,
    output: &Path,
) -> Result<(), String> {
    let mut command = Command::new(go);
    command.args(arguments).arg("-o").arg(output).arg(".").current_dir(source);
    command.env("GOTOOLCHAIN", "local").env("GOPROXY", "off").env("GOFLAGS", "-mod=mod");
    command.env("GO111MODULE", "on").env("GOWORK", "off").env_remove("GOROOT");
    command.env("CGO_ENABLED", if variant.needs_cgo() { "1" } else { "0" });
    if ["GOCACHE", "XDG_CACHE_HOME", "HOME"].iter().all(|name| std::env::var_os(name).is_none()) {
        command.env("GOCACHE", target_dir().join("workloads/go-cache"));
    }
    let done = command.output().map_err(|e| format!("cannot run {}: {e}", go.display()))?;
    if done.status.success() {
        Ok(())
    } else {
        Err(format!("{}\n{}", done.status, String::from_utf8_lossy(&done.stderr).trim()))
    }
}

/// The C program that loads a `c-shared` library: `c_host() LIBRARY N`.
///
/// # Errors
/// If it cannot be compiled.
pub fn c_host() -> Result<PathBuf, String> {
    let source = workspace().join("workloads/go/cshared/host/host.c");
    let home = target_dir().join("workloads/cshared");
    fs::create_dir_all(&home).map_err(|e| format!("cannot create {}: {e}", home.display()))?;
    let _lock = lock(&home.join("host.lock"))?;
    let (fresh, built) = (home.join("host.new"), home.join("host"));
    let mut command = Command::new("cc");
    command.args(["-O2", "-Wall", "-o"]).arg(&fresh).arg(&source).arg("-ldl");
    let done = command.output().map_err(|e| format!("cannot run cc: {e}"))?;
    if !done.status.success() {
        return Err(format!("cc fails: {}", String::from_utf8_lossy(&done.stderr).trim()));
    }
    fs::rename(&fresh, &built).map_err(|e| format!("cannot rename {}: {e}", fresh.display()))?;
    Ok(built)
}

/// The program's own profile, else the one that makes the scheduler hot.
fn profile_for(source: &Path) -> PathBuf {
    let own = source.join("default.pgo");
    if own.is_file() { own } else { workspace().join("workloads/go/scheduler.pgo") }
}

/// One number for everything that goes into a build.
fn digest(source: &Path, profile: Option<&Path>, words: &[&str]) -> Result<u64, String> {
    let mut files = Vec::new();
    collect(source, &mut files)?;
    let shared = source.with_file_name("control");
    if shared.is_dir() {
        collect(&shared, &mut files)?;
    }
    files.extend(["go.mod", "go.sum"].map(|name| source.with_file_name(name)));
    files.extend(profile.map(Path::to_path_buf));
    files.sort();
    let mut hasher = DefaultHasher::new();
    for word in words {
        hasher.write(word.as_bytes());
        hasher.write_u8(0);
    }
    for file in files.iter().filter(|file| file.is_file()) {
        let bytes = fs::read(file).map_err(|e| format!("cannot read {}: {e}", file.display()))?;
        hasher.write(file.to_string_lossy().as_bytes());
        hasher.write_usize(bytes.len());
        hasher.write(&bytes);
    }
    Ok(hasher.finish())
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let entries = fs::read_dir(dir).map_err(|e| format!("cannot read {}: {e}", dir.display()))?;
    for entry in entries {
        let path = entry.map_err(|e| format!("cannot read {}: {e}", dir.display()))?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// Held until dropped; other threads and processes wait for it.
fn lock(path: &Path) -> Result<File, String> {
    let file = File::create(path).map_err(|e| format!("cannot create {}: {e}", path.display()))?;
    file.lock().map_err(|e| format!("cannot lock {}: {e}", path.display()))?;
    Ok(file)
}

/// Whether the full matrix is asked for: `LOITER_MATRIX=full`.
pub fn full_matrix() -> bool {
    std::env::var("LOITER_MATRIX").is_ok_and(|value| value == "full")
}

/// How often to repeat what is repeated often: `LOITER_CYCLES`, else the number for an ordinary run.
pub fn cycles(ordinary: u32) -> u32 {
    std::env::var("LOITER_CYCLES").ok().and_then(|text| text.parse().ok()).unwrap_or(ordinary)
}

/// Versions to test with: all of them in the full matrix, else the short set.
pub fn versions() -> &'static [&'static str] {
    if full_matrix() { &GO_VERSIONS } else { &SHORT_GO_VERSIONS }
}

/// Version and variant pairs to test with. Full: everything a toolchain knows. Short: each variant that
/// changes what the binary looks like once, spread over the versions.
pub fn matrix() -> Vec<(&'static str, Variant)> {
    if !full_matrix() {
        return vec![
            ("1.19", Variant::Default),
            ("1.19", Variant::Stripped),
            ("1.22.10", Variant::Pie),
            ("1.24.11", Variant::ExternalPie),
            ("1.27.3", Variant::Default),
            ("1.27.3", Variant::Stripped),
            ("1.27.3", Variant::Cgo),
        ];
    }
    let mut all = Vec::new();
    for version in GO_VERSIONS {
        let known = Variant::EXECUTABLES.iter().filter(|v| v.supported_by(version).is_ok());
        all.extend(known.map(|variant| (version, *variant)));
    }
    all
}

/// Where the real programs lie: `LOITER_REAL`, else `target/real`.
pub fn real_dir() -> PathBuf {
    match std::env::var_os("LOITER_REAL") {
        Some(dir) => workspace().join(dir),
        None => target_dir().join("real"),
    }
}

/// A program as its registry ships it: `caddy`, `prometheus`, `etcd`.
///
/// # Errors
/// If it was not fetched; says how to.
pub fn real_program(name: &str) -> Result<PathBuf, String> {
    let path = real_dir().join(name).join(name);
    if path.is_file() {
        return Ok(path);
    }
    Err(format!("{name} is not there: `cargo xtask setup --real` fetches it"))
}
