//! Memory that lies: a look at what a tenant has made of its runtime's structures ends, without a
//! panic and without more memory or time than an honest one.

use std::time::{Duration, Instant};

use loiter::base::{Pid, ProcId};
use loiter::runtime::go::snapshot::{LookContext, Snapshotter};
use loiter::runtime::go::{Detector, Located, locate};
use loiter::stream::{Input, LookSeq};
use loiter::symbolize::SharedInterner;
use loiter::target::{FixtureMem, LiveMem, ReadMem, RecordingMem};

use super::common::{GoProc, Variant, go_build, or_skip};
use super::look::now;

/// Longest time a look at 60 altered goroutines may take, also in a debug build under load.
const LONGEST: Duration = Duration::from_secs(20);

fn look(located: &Located, mem: &dyn ReadMem) -> u64 {
    let interner = SharedInterner::default();
    let mut tasks = 0;
    let mut sink = |input| tasks += u64::from(matches!(input, Input::SnapshotTask(_)));
    let mut context =
        LookContext { look: LookSeq(1), clock: &now, interner: &interner, sink: &mut sink };
    let mut snapshotter = Snapshotter::new(ProcId(1), Pid(std::process::id()), located.clone());
    let _ = snapshotter.look(mem, &mut context);
    tasks
}

/// Deterministic, so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below.max(1)
    }
}

/// What a process looks like to one look.
fn record(version: &str) -> Result<(Located, FixtureMem), String> {
    let exe = go_build(version, "zoo", Variant::Stripped)?;
    let (process, _) = GoProc::start_ready(&exe, &[]);
    let pid = Pid(process.pid());
    let program = Detector::new().detect(pid).map_err(|e| e.to_string())?;
    let recording = RecordingMem::new(LiveMem::open(pid).map_err(|e| e.to_string())?);
    let located = locate(&recording, &program).map_err(|e| e.to_string())?;
    let live = look(&located, &recording);
    let fixture = recording.into_fixture();
    assert_eq!(look(&located, &fixture), live, "a recording is looked at as the process was");
    Ok((located, fixture))
}

#[test]
fn altered_memory_neither_panics_nor_hangs() {
    for (version, rounds) in [("1.19", 150), ("1.24.11", 150), ("1.27.3", 300)] {
        let (located, honest) = or_skip!(record(version));
        let regions: Vec<(u64, usize)> =
            honest.regions().map(|(at, bytes)| (at, bytes.len())).collect();
        let mut dice = Dice(27);
        for _ in 0..rounds {
            let mut mem = honest.clone();
            for _ in 0..1 + dice.roll(40) {
                let (start, len) = regions[dice.roll(regions.len())];
                let at = start + (dice.roll(len) & !7) as u64;
                // Words that mean something: another address, zero, garbage, a large number.
                let word = match dice.roll(4) {
                    0 => regions[dice.roll(regions.len())].0,
                    1 => 0,
                    2 => dice.0,
                    _ => u64::MAX >> dice.roll(64),
                };
                mem.patch(at, &word.to_le_bytes());
            }
            let began = Instant::now();
            look(&located, &mem);
            assert!(began.elapsed() < LONGEST);
        }
    }
}

#[test]
fn a_list_that_claims_four_thousand_million_goroutines_is_not_believed() {
    let (located, mut mem) = or_skip!(record("1.27.3"));
    assert!(mem.patch(located.allgs.len, &0xffff_ffff_u64.to_le_bytes()));
    assert_eq!(look(&located, &mem), 0);
}
