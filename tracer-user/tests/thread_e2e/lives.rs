//! Births and deaths of threads.

use std::time::Duration;

use loiter::stream::Mode;

use crate::common::{GoProc, or_skip};
use crate::support::{Tally, Tracer, alone, build, lost};

#[test]
fn each_thread_made_is_born_once_and_dies_once() {
    let _alone = alone();
    or_skip!(crate::common::need_bpf());
    let binary = or_skip!(build("futexes"));
    for mode in [Mode::Lifecycle, Mode::All] {
        let (mut process, _) = GoProc::start_ready(&binary, &[]);
        let mut tracer = Tracer::follow(&process, mode, Duration::from_secs(1));
        let mut tally = Tally::default();
        process.ask("spawn 1000", "spawned");
        // pthread_join returns when the kernel has cleared the tid, just before it tells of the end.
        tracer.drain_until(&mut tally, |tally| tally.deaths.len() >= 1000);
        let counters = tracer.end(&mut tally);
        assert_eq!((tally.births.len(), tally.deaths.len()), (1000, 1000));
        assert!(tally.births.keys().all(|tid| tally.deaths.contains(tid)));
        assert!(tally.births.values().all(|birth| birth.parent == process.pid()));
        assert!(tally.births.values().all(|birth| birth.len >= 512 && birth.pc != 0));
        assert_eq!(lost(&counters), 0);
        process.finish();
    }
}

#[test]
fn threads_of_others_are_not_told() {
    let _alone = alone();
    or_skip!(crate::common::need_bpf());
    let binary = or_skip!(build("futexes"));
    let (process, _) = GoProc::start_ready(&binary, &[]);
    let (mut other, _) = GoProc::start_ready(&binary, &[]);
    let mut tracer = Tracer::follow(&process, Mode::All, Duration::from_nanos(1));
    let mut tally = Tally::default();
    other.ask("spawn 100", "spawned");
    other.ask("run 1000", "ran");
    let counters = tracer.end(&mut tally);
    assert_eq!((tally.records, counters.thread_hits), (0, 0), "{counters:?}");
    other.finish();
    process.finish();
}

#[test]
fn the_end_of_the_process_ends_its_threads() {
    let _alone = alone();
    or_skip!(crate::common::need_bpf());
    let binary = or_skip!(build("futexes"));
    let (mut process, _) = GoProc::start_ready(&binary, &[]);
    let mut tracer = Tracer::follow(&process, Mode::All, Duration::from_secs(1));
    let mut tally = Tally::default();
    let pid = process.pid();
    process.tell("exit");
    tracer.drain_until(&mut tally, |tally| !tally.exits.is_empty());
    assert!(tally.deaths.contains(&pid));
    assert_eq!(tally.exits, [7 << 8]);
    tracer.end(&mut tally);
    assert_eq!(tracer.kernel.sleeping(tracer.slot).unwrap(), []);
}
