//! What a hit costs the target.

use loiter::kernel::{AttachMethod, Kinds};
use loiter::runtime::plan::SiteKind;
use tracer_common::config::TargetConfig;

use crate::common::{GoProc, Variant, go_build, or_skip};
use crate::support::{Tally, Tracer};
use crate::{GO, by, hand_plan, support};

/// What the target pays: its own CPU time a round trip of ping-pong, with and without probes.
#[test]
#[ignore = "measures; run it alone: cargo test --test kernel_e2e -- --ignored what_a_hit_costs --nocapture"]
fn what_a_hit_costs() {
    let _alone = support::alone();
    or_skip!(crate::common::need_bpf());
    let binary = or_skip!(go_build(GO, "pingpong", Variant::Default));
    let mut process = GoProc::start_with(&binary, &[], &[("GOMAXPROCS", "1")]);
    process.wait_for("ready");
    let one = |kind| (format!("{kind:?}"), Kinds::NONE.with(kind), 0);
    let cases = [
        ("none".to_owned(), Kinds::NONE, 0),
        one(SiteKind::Park),
        one(SiteKind::Run),
        one(SiteKind::Ready),
        ("all".to_owned(), Kinds::ALL, 0),
        ("all, min_wait 10 ms".to_owned(), Kinds::ALL, 10_000_000),
    ];
    let mut costs: Vec<Vec<(f64, f64)>> = vec![Vec::new(); cases.len()];
    let mut tracer = Tracer::load(&by(AttachMethod::Auto));
    for _ in 0..5 {
        for ((_, kinds, min_wait_ns), costs) in cases.iter().zip(&mut costs) {
            let config = TargetConfig { min_wait_ns: *min_wait_ns, ..hand_plan::GO_1_27 };
            let attached = tracer.attach_with(&process, &binary, *kinds, config);
            costs.push(support::cost_a_round(&mut tracer, &mut process, attached.slot));
            tracer.kernel.detach(attached.slot).unwrap();
            tracer.drain(&mut Tally::default());
        }
    }
    let mut bare = 0.0;
    for ((name, _, _), costs) in cases.iter().zip(&mut costs) {
        costs.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (cost, hits) = costs[costs.len() / 2];
        if hits == 0.0 {
            bare = cost;
        }
        let a_hit = (cost - bare) / hits.max(1.0);
        let (least, most) = (costs[0].0, costs[costs.len() - 1].0);
        println!(
            "{name:22} {cost:6.0} ns a round ({least:.0}-{most:.0}), {hits:.2} hits, {a_hit:4.0} ns a hit"
        );
    }
    process.finish();
}
