//! The commit a build is made from, read from git, and the files that tell when that changes.
//! Outside of git there is none; nothing here fails a build.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What is appended to a commit that the sources are no longer those of.
pub const MODIFIED: &str = "-modified";

/// What git says of a source tree.
#[derive(Default, Debug, PartialEq, Eq)]
pub struct Checkout {
    /// The commit in hex, with [`MODIFIED`] where the inputs of the build differ from it.
    pub commit: Option<String>,
    /// Files and directories of git of which one changes whenever another commit is checked out.
    pub watch: Vec<PathBuf>,
}

/// Reads the commit of a source tree; `inputs` are what the build is made of, below it.
pub fn read(tree: &Path, inputs: &[&str]) -> Checkout {
    // Sources unpacked within another project's checkout are not of its commits.
    let top = git(tree, &["rev-parse", "--show-toplevel"]).map(PathBuf::from);
    if top.and_then(|top| top.canonicalize().ok()) != tree.canonicalize().ok() {
        return Checkout::default();
    }
    let Some(commit) = git(tree, &["rev-parse", "--verify", "HEAD"]) else {
        return Checkout::default();
    };
    let mut status = vec!["status", "--porcelain", "--"];
    status.extend(inputs);
    let modified = git(tree, &status).is_none_or(|changes| !changes.is_empty());
    let mark = if modified { MODIFIED } else { "" };
    Checkout { commit: Some(format!("{commit}{mark}")), watch: watch(tree) }
}

/// `HEAD`, and the branch it names: a file of its own, or a line among the packed ones until it moves.
fn watch(tree: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut add = |name: &str| {
        let path = git(tree, &["rev-parse", "--git-path", name]).map(|path| tree.join(path));
        found.extend(path.filter(|path| path.exists()));
    };
    add("HEAD");
    // Grows with every move of HEAD, also with the first one after its branch was packed.
    add("logs/HEAD");
    if let Some(branch) = git(tree, &["symbolic-ref", "--quiet", "HEAD"]) {
        add(&branch);
    }
    add("packed-refs");
    found
}

fn git(tree: &Path, args: &[&str]) -> Option<String> {
    let mut git = Command::new("git");
    // Looking must not touch the index: others work in this checkout.
    git.arg("--no-optional-locks").arg("-C").arg(tree).args(args);
    // Set while git runs a hook: they would name another checkout.
    git.env_remove("GIT_DIR").env_remove("GIT_WORK_TREE").env_remove("GIT_INDEX_FILE");
    let done = git.output().ok().filter(|done| done.status.success())?;
    Some(String::from_utf8(done.stdout).ok()?.trim().to_owned())
}
