//! The tests' own tools: builds are kept, processes end.

mod common;

use common::{GoProc, Variant, go_build, or_skip};

#[test]
fn a_workload_is_built_once_and_ends_when_its_input_is_closed() {
    let exe = or_skip!(go_build("1.27.3", "pingpong", Variant::Default));
    let again = or_skip!(go_build("1.27.3", "pingpong", Variant::Default));
    assert_eq!(exe, again);
    let (mut process, _) = GoProc::start_ready(&exe, &["-rounds", "100"]);
    assert!(process.wait_for("done").starts_with("100 "));
    assert!(process.ask("count", "count").starts_with("100 "));
    process.assert_alive();
    assert!(process.finish().iter().any(|line| line.starts_with("done")));
}

#[test]
fn a_missing_toolchain_is_named_with_the_remedy() {
    let why = go_build("1.2.3", "pingpong", Variant::Default).unwrap_err();
    assert!(why.contains("cargo xtask setup --go 1.2.3"), "{why}");
}

#[test]
fn builds_of_the_same_program_do_not_race() {
    let built: Vec<_> = std::thread::scope(|scope| {
        let jobs: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| go_build("1.27.3", "pingpong", Variant::Stripped)))
            .collect();
        jobs.into_iter().map(|job| job.join().unwrap()).collect()
    });
    let first = or_skip!(built[0].clone());
    assert!(built.iter().all(|path| path.as_ref() == Ok(&first)));
}
