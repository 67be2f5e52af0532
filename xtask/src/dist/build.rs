//! The static binary: built so that it runs on any Linux, and has nothing of the machine it was built on.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use object::{Object as _, ObjectSection as _};
use sha2::{Digest as _, Sha256};

use super::files;
use crate::{go, run};

/// The only target with a standard library here; glibc links statically into it.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Builds the release with its symbols.
///
/// # Errors
/// If it does not build.
pub fn binary(epoch: u64) -> Result<PathBuf> {
    let mut cargo = run::cargo();
    // With a target named, flags are for the program and not for macros and build scripts.
    cargo.args(["build", "--release", "--locked", "--package", "tracer-user", "--bin", "loiter"]);
    cargo.args(["--target", TARGET]);
    let places = places()?;
    let mapped = |flag: &str| -> Vec<String> {
        places.iter().map(|(from, to)| format!("{flag}{}={to}", from.display())).collect()
    };
    let mut flags = vec!["-Ctarget-feature=+crt-static".to_owned()];
    flags.extend(mapped("--remap-path-prefix="));
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f")).env_remove("RUSTFLAGS");
    // zstd is C.
    cargo.env("CFLAGS", mapped("-ffile-prefix-map=").join(" "));
    cargo.env("SOURCE_DATE_EPOCH", epoch.to_string());
    run::loud(&mut cargo)?;
    Ok(go::target_dir().join(TARGET).join("release/loiter"))
}

/// What of this machine could be named in the binary, and what is named instead.
///
/// # Errors
/// If cargo's home is not to be found.
pub fn places() -> Result<[(PathBuf, &'static str); 2]> {
    let home = || Some(PathBuf::from(env::var_os("HOME")?).join(".cargo"));
    let cargo = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home);
    let cargo = cargo.context("neither CARGO_HOME nor HOME is set")?;
    Ok([(go::workspace(), "/loiter"), (cargo, "/cargo")])
}

/// Takes the symbols out into a file of their own, which debuggers find by build id. Both files get a new one.
///
/// # Errors
/// If objcopy is missing or refuses.
pub fn split(built: &Path, binary: &Path, symbols: &Path) -> Result<()> {
    run::quiet(run::command("objcopy").args(["--only-keep-debug"]).arg(built).arg(symbols))?;
    run::quiet(run::command("objcopy").args(["--strip-all"]).arg(built).arg(binary))?;
    let id = content_id(&mut files::read(binary)?)?;
    for path in [binary, symbols] {
        let mut bytes = files::read(path)?;
        let place = id_of(&mut bytes)?;
        place.copy_from_slice(id.get(..place.len()).context("the build id is too long")?);
        files::write(path, &bytes)?;
    }
    Ok(())
}

/// The build id that a binary gets: a digest of the binary itself. The linker's is one of the symbols too, whose
/// names LLVM makes anew in each directory.
fn content_id(bytes: &mut [u8]) -> Result<Vec<u8>> {
    id_of(bytes)?.fill(0);
    Ok(Sha256::digest(bytes).to_vec())
}

/// Where the build id stands in a file.
fn id_of(bytes: &mut [u8]) -> Result<&mut [u8]> {
    let file = object::File::parse(&*bytes).context("no ELF file")?;
    let id = file.build_id()?.context("the linker made no build id")?.len();
    let note = file.section_by_name(".note.gnu.build-id").and_then(|it| it.file_range());
    let (start, len) = note.context("the build id is in no section")?;
    let end = usize::try_from(start.saturating_add(len))?;
    // It is the end of the note.
    bytes.get_mut(end.saturating_sub(id)..end).context("the build id is beyond the file")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_build_id_tells_binaries_apart_by_what_is_in_them_and_by_nothing_else() {
        let mut one = files::read(&env::current_exe().unwrap()).unwrap();
        let mut two = one.clone();
        id_of(&mut two).unwrap().fill(7);
        let id = content_id(&mut one).unwrap();
        assert_eq!(id, content_id(&mut two).unwrap());
        *two.last_mut().unwrap() ^= 1;
        assert_ne!(id, content_id(&mut two).unwrap());
    }
}
