//! Births and deaths are counted exactly, or the loss is; through the binary, with real probes.

mod common;

use common::cli::Watching;
use common::{GoProc, Variant, go_build, need_bpf, or_skip};
use serde_json::Value;

const GO: &str = "1.27.3";
const MILLION: u64 = 1_000_000;

/// Births and deaths at the workload's one spawn site, and all losses.
fn counts(summary: &Value) -> (u64, u64, u64) {
    let sites = summary["spawn_sites"].as_array().expect("spawn sites");
    let site = sites.iter().find(|site| site["function"] == "main.run").expect("the spawn site");
    let lost = summary["lost"].as_object().expect("losses");
    let lost = lost.values().map(|count| count.as_u64().expect("a count")).sum();
    (site["births"].as_u64().unwrap(), site["deaths"].as_u64().unwrap(), lost)
}

#[test]
fn a_million_births_and_deaths_are_a_million_or_the_rest_is_counted_as_lost() {
    or_skip!(need_bpf());
    for (version, args) in [(GO, &[][..]), ("1.19", &[]), (GO, &["-park"])] {
        let exe = or_skip!(go_build(version, "million", Variant::Stripped));
        let (mut process, _) = GoProc::start_ready(&exe, args);
        let watch = Watching::start(process.pid(), &["--events", "lifecycle"]);
        assert!(process.ask("run", "done").starts_with("1000000 1000000"));
        let run = watch.interrupt();
        let (births, deaths, lost) = counts(&run.summary());
        println!("go{version} {args:?}: {births} births, {deaths} deaths, {lost} lost");
        if lost == 0 {
            assert_eq!((births, deaths), (MILLION, MILLION), "{run}");
        }
        // A lost record may be another goroutine's: the runtime starts a few of its own.
        let told = births + deaths + lost;
        assert!((2 * MILLION..=2 * MILLION + 100).contains(&told), "{told}: {run}");
        process.finish();
    }
}

#[test]
fn a_ring_of_one_page_loses_much_counts_all_of_it_and_heals() {
    or_skip!(need_bpf());
    let exe = or_skip!(go_build(GO, "million", Variant::Stripped));
    let (mut process, _) = GoProc::start_ready(&exe, &[]);
    let args = ["--events", "lifecycle", "--ring-size", "4KiB", "--interval", "500ms"];
    let mut watch = Watching::start(process.pid(), &args);
    process.ask("run", "done");
    watch.wait_for_notice("made good for the loss");
    let run = watch.interrupt();
    let summary = run.summary();
    let (births, deaths, lost) = counts(&summary);
    println!("a ring of one page: {births} births, {deaths} deaths, {lost} lost");
    assert!(lost > 0, "{run}");
    let told = births + deaths + lost;
    assert!((2 * MILLION..=2 * MILLION + 100).contains(&told), "{told}: {run}");
    assert!(run.findings().is_empty(), "{run}");
    // Only the main goroutine is left, which reads its commands.
    assert_eq!(summary["alive"], 1, "{run}");
    process.finish();
}
