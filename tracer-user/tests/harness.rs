//! The tests' own tools: builds are kept, processes end.

mod common;

use common::{GoProc, Variant, go::c_host, go_build, or_skip};

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

#[test]
fn every_workload_does_what_it_promises() {
    let cases: [(&str, &[&str], &str, &str); 7] = [
        ("million", &["-n", "5000"], "run", "done 5000 5000"),
        ("million", &["-n", "5000", "-park"], "run", "done 5000 5000"),
        ("mutexcrowd", &["-n", "500"], "release", "released 500"),
        ("pool", &["-n", "20", "-warm", "20", "-on", "cond"], "work 50", "worked 50"),
        ("waits", &["-old", "1"], "release", "released 8"),
        ("httpd", &[], "usage", "usage 0"),
        ("many", &["-n", "1000"], "stall", "stall"),
    ];
    for (program, args, command, answer) in cases {
        let exe = or_skip!(go_build("1.27.3", program, Variant::Default));
        let (mut process, _) = GoProc::start_ready(&exe, args);
        process.ask(command, answer);
        process.finish();
    }
}

#[test]
fn orders_leaks_without_its_customers_seeing_it() {
    let exe = or_skip!(go_build("1.27.3", "orders", Variant::Default));
    let (mut service, address) = GoProc::start_ready(&exe, &["-quota", "0"]);
    let (mut customers, _) = GoProc::start_ready(&exe, &["-drive", &address, "-rate", "1000"]);
    let accepted = |line: String| line.split(' ').next().unwrap().parse::<u64>().unwrap();
    while accepted(service.ask("orders", "orders")) < 200 {
        customers.ask("sent", "sent");
    }
    customers.finish();
    let dump = GoProc::http_get(&address, "/debug/pprof/goroutine?debug=2");
    assert!(dump.matches("(*service).recordOrder").count() > 100, "{dump}");
    service.finish();
}

#[test]
fn a_go_library_runs_inside_a_c_program() {
    let library = or_skip!(go_build("1.27.3", "cshared", Variant::CShared));
    let host = or_skip!(c_host());
    let (process, _) = GoProc::start_ready(&host, &[library.to_str().unwrap(), "3"]);
    process.finish();
}
