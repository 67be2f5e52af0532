//! The commit that a build names: the right one, whatever the checkout is like, and a reason to build anew whenever it changes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::made::output;

#[path = "../../build/commit.rs"]
#[allow(dead_code)]
mod built;

/// A checkout with one commit, whose build is made of `src`.
struct Checkout {
    dir: tempfile::TempDir,
}

impl Checkout {
    fn new() -> Checkout {
        let checkout = Checkout { dir: tempfile::tempdir().unwrap() };
        checkout.git(&["init", "--quiet", "--initial-branch=main"]);
        fs::create_dir(checkout.path().join("src")).unwrap();
        checkout.write("src/a", "1");
        checkout.write("notes", "1");
        checkout.commit();
        checkout
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).unwrap();
    }

    fn git(&self, args: &[&str]) -> String {
        let mut git = Command::new("git");
        git.arg("-C").arg(self.path()).args(["-c", "user.name=a", "-c", "user.email=a@localhost"]);
        output(git.args(args)).trim().to_owned()
    }

    fn commit(&self) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message=a"]);
        self.git(&["rev-parse", "HEAD"])
    }

    fn read(&self) -> built::Checkout {
        built::read(self.path(), &["src"])
    }
}

/// What is in the files that are watched, so that a change is seen however coarse times are.
fn watched(checkout: &built::Checkout) -> BTreeMap<PathBuf, String> {
    let all = checkout.watch.iter();
    all.map(|path| (path.clone(), fs::read_to_string(path).unwrap_or_default())).collect()
}

#[test]
fn a_clean_checkout_is_its_commit_and_one_with_other_sources_is_marked() {
    let checkout = Checkout::new();
    let head = checkout.git(&["rev-parse", "HEAD"]);
    checkout.write("notes", "2");
    assert_eq!(checkout.read().commit.as_deref(), Some(&*head), "notes are in no binary");
    checkout.write("src/b", "new");
    assert_eq!(checkout.read().commit, Some(format!("{head}-modified")));
}

#[test]
fn whatever_moves_head_changes_a_file_that_is_watched() {
    let checkout = Checkout::new();
    let moves: [(&str, &dyn Fn()); 5] = [
        ("a commit", &|| drop(checkout.commit())),
        ("another branch", &|| drop(checkout.git(&["switch", "--quiet", "--create", "other"]))),
        ("a commit after the branches were packed", &|| {
            checkout.git(&["pack-refs", "--all"]);
            let before = checkout.read();
            let seen = watched(&before);
            checkout.commit();
            assert_ne!(seen, watched(&before));
        }),
        ("a detached head", &|| drop(checkout.git(&["switch", "--quiet", "--detach", "HEAD~1"]))),
        ("a commit without a branch", &|| drop(checkout.commit())),
    ];
    for (what, go) in moves {
        let before = checkout.read();
        assert!(
            before.watch.iter().all(|path| path.exists()),
            "a missing file is built anew always"
        );
        let seen = watched(&before);
        go();
        assert_ne!(seen, watched(&before), "{what} is not seen");
        let head = checkout.git(&["rev-parse", "HEAD"]);
        assert_eq!(checkout.read().commit, Some(head), "{what}");
    }
}

#[test]
fn a_second_worktree_has_a_commit_of_its_own() {
    let checkout = Checkout::new();
    let place = tempfile::tempdir().unwrap();
    let second = place.path().join("second");
    checkout.git(&["worktree", "add", "--quiet", "-b", "second", &second.to_string_lossy()]);
    let before = built::read(&second, &["src"]);
    checkout.commit();
    assert_eq!(built::read(&second, &["src"]), before);
    assert_eq!(before.commit.map(|it| it.len()), Some(40));
    assert!(before.watch.len() >= 2, "{:?}", before.watch);
}

#[test]
fn sources_outside_of_git_or_within_another_checkout_have_no_commit() {
    let outside = tempfile::tempdir().unwrap();
    assert_eq!(built::read(outside.path(), &["src"]), built::Checkout::default());
    let checkout = Checkout::new();
    let within = checkout.path().join("src");
    assert_eq!(built::read(&within, &["src"]), built::Checkout::default());
}
