use super::*;

const MS: u64 = 1_000_000;
const STEP: u64 = 200 * MS;

/// A target and its load, as the kernel accounts for them.
struct World {
    policy: Policy,
    now: KTime,
    /// Requests a second; one takes 10 µs of user time and 6 of kernel time, is a birth, a death and
    /// six waits.
    load: f64,
    /// So many times as many births, deaths and waits, for the same work.
    events: f64,
    /// Changes that stay.
    turns: Vec<(u64, Mode)>,
    /// Why.
    told: Vec<String>,
    /// Begin and end of moments of all events.
    moments: Vec<(u64, Mode)>,
    /// ns of all costs, target and loiter.
    spent: f64,
}

/// Of the target, ns: the rarer, the colder are the caches.
fn cost_of_a_hit(rate: f64) -> f64 {
    match rate {
        ..8_000.0 => 3_500.0,
        ..40_000.0 => 1_800.0,
        _ => 1_100.0,
    }
}

impl World {
    fn new(ceiling: Mode, mode: Mode) -> World {
        let policy = Policy::new(Budget::DEFAULT, ceiling, mode);
        World {
            policy,
            now: KTime(0),
            load: 0.0,
            events: 1.0,
            turns: Vec::new(),
            told: Vec::new(),
            moments: Vec::new(),
            spent: 0.0,
        }
    }

    fn run(&mut self, seconds: u64, load: f64) {
        self.load = load;
        for _ in 0..seconds * 1000 * MS / STEP {
            self.step();
        }
    }

    fn step(&mut self) {
        self.now = KTime(self.now.0 + STEP);
        let requests = self.load * STEP as f64 / 1e9;
        let mode = self.policy.mode();
        let events = requests * self.events;
        let lifecycle = if mode >= Mode::Lifecycle { events * 2.0 } else { 0.0 };
        let waits = if mode == Mode::All { events * 6.0 } else { 0.0 };
        let hits = lifecycle + waits;
        let one = cost_of_a_hit(hits * 1e9 / STEP as f64);
        self.spent += hits * (one + 400.0);
        let sample = Sample {
            at: self.now,
            over: Nanos(STEP),
            hits: Hits { lifecycle: lifecycle as u64, waits: waits as u64 },
            user: Nanos((requests * 10_000.0) as u64),
            system: Nanos((requests * 6_000.0 + hits * one) as u64),
            loiter: Nanos((200_000.0 + hits * 400.0) as u64),
        };
        if let Some(turn) = self.policy.note(sample) {
            assert!(!turn.why.is_empty());
            let turns = match turn.stay {
                Stay::Long => {
                    self.told.push(turn.why);
                    &mut self.turns
                }
                Stay::Rhythm(_) | Stay::Moment => &mut self.moments,
            };
            turns.push((self.now.0 / MS, turn.mode));
        }
    }
}

#[test]
fn a_quiet_target_gets_all_events_and_keeps_them() {
    let mut world = World::new(Mode::All, Mode::Lifecycle);
    world.run(60, 20.0);
    assert_eq!(world.policy.mode(), Mode::All);
    assert_eq!(world.turns.len(), 1, "{:?}", world.turns);
}

#[test]
fn a_ceiling_is_never_passed() {
    for ceiling in [Mode::None, Mode::Lifecycle] {
        let mut world = World::new(ceiling, Mode::All);
        world.run(120, 0.0);
        assert_eq!(world.policy.mode(), ceiling);
        assert_eq!(world.turns, []);
    }
}

#[test]
fn a_burst_takes_the_probes_off_within_a_second_and_quiet_brings_them_back() {
    let mut world = World::new(Mode::All, Mode::All);
    world.run(30, 100.0);
    assert_eq!(world.turns, []);
    let burst = world.now.0 / MS;
    world.run(40, 40_000.0);
    let (at, mode) = world.turns[0];
    assert_eq!(mode, Mode::None);
    assert!(at - burst <= 600, "{} ms", at - burst);
    assert_eq!(world.turns.len(), 1, "{:?}", world.turns);
    let quiet = world.now.0 / MS;
    world.run(30, 100.0);
    assert_eq!(world.policy.mode(), Mode::All, "{:?}", world.turns);
    let (back, _) = world.turns[world.turns.len() - 1];
    assert!((5_000..15_000).contains(&(back - quiet)), "{} ms", back - quiet);
}

#[test]
fn what_births_and_deaths_alone_cost_may_still_fit() {
    let mut world = World::new(Mode::All, Mode::All);
    world.run(20, 600.0);
    assert_eq!(world.policy.mode(), Mode::Lifecycle, "{:?}", world.turns);
    assert_eq!(world.turns.len(), 1, "{:?}", world.turns);
}

#[test]
fn a_mode_that_is_too_dear_is_not_tried_all_the_time_and_the_budget_is_kept_on_the_whole() {
    for load in [1_500.0, 5_000.0, 20_000.0, 60_000.0] {
        let mut world = World::new(Mode::All, Mode::Lifecycle);
        world.run(3_600, load);
        assert!(world.turns.len() <= 30, "{load}: {:?}", world.turns);
        let allowed = 0.01 * (load * 16e-6).max(1.0);
        let spent = world.spent / 1e9 / 3_600.0;
        assert!(spent <= allowed, "{load}: {spent} of {allowed}: {:?}", world.turns);
    }
}

#[test]
fn load_that_wavers_about_the_budget_does_not_make_the_probes_waver() {
    let mut world = World::new(Mode::All, Mode::All);
    for _ in 0..200 {
        world.run(2, 500.0);
        world.run(1, 1_100.0);
    }
    assert!(world.turns.len() <= 20, "{:?}", world.turns);
}

#[test]
fn a_target_that_works_more_may_be_charged_more() {
    let mut world = World::new(Mode::Lifecycle, Mode::Lifecycle);
    world.run(10, 0.0);
    let idle = world.policy.account();
    assert!((idle.allowed - 0.01).abs() < 1e-9, "{idle:?}");
    world.load = 200_000.0;
    world.step();
    world.run(3, 200_000.0);
    let busy = world.policy.account();
    assert!(busy.allowed > 0.03, "{busy:?}");
}

#[test]
fn what_it_costs_is_accounted_for() {
    let mut world = World::new(Mode::Lifecycle, Mode::Lifecycle);
    world.run(30, 500.0);
    let account = world.policy.account();
    assert!((account.hits - 1_000.0).abs() < 1.0, "{account:?}");
    assert!((account.target / 0.0035 - 1.0).abs() < 0.5, "{account:?}");
    assert!((account.loiter / 0.0014 - 1.0).abs() < 0.1, "{account:?}");
}

#[test]
fn probes_that_could_not_be_put_on_are_tried_again_later_and_ever_more_rarely() {
    let mut world = World::new(Mode::All, Mode::Lifecycle);
    let mut tries = Vec::new();
    for second in 0..1_000u64 {
        world.run(1, 1.0);
        if world.policy.mode() == Mode::All {
            tries.push(second);
            world.policy.stays(Mode::Lifecycle, world.now);
        }
    }
    assert!((2..20).contains(&tries.len()), "{tries:?}");
}

#[test]
fn samples_without_any_length_or_sense_do_no_harm() {
    let mut policy = Policy::new(Budget::DEFAULT, Mode::All, Mode::All);
    let most = Nanos(u64::MAX);
    for at in [0, 0, 5, u64::MAX, 3] {
        let hits = Hits { lifecycle: u64::MAX, waits: u64::MAX };
        let sample =
            Sample { at: KTime(at), over: Nanos(at), hits, user: most, system: most, loiter: most };
        policy.note(sample);
    }
    assert!(policy.account().allowed.is_finite());
}

#[test]
fn what_is_too_dear_for_long_is_on_for_moments_that_fit() {
    for load in [5_000.0, 20_000.0, 40_000.0] {
        let mut world = World::new(Mode::All, Mode::Lifecycle);
        world.run(300, load);
        world.moments.clear();
        let spent = world.spent;
        world.run(600, load);
        let allowed = 0.01 * (load * 16e-6f64).max(1.0);
        let part = (world.spent - spent) / 1e9 / 600.0;
        let moments = world.moments.iter().filter(|(_, mode)| *mode == Mode::All).count();
        println!("{load}: {moments} moments in 600 s take {part:.4} of {allowed:.4}");
        assert!((9..=60).contains(&moments), "{load}: {:?}", world.moments);
        assert!(part <= allowed, "{load}: {part} of {allowed}");
        let ends = world.moments.windows(2).filter(|two| two[0].1 == Mode::All);
        assert!(ends.clone().all(|two| two[1].0 - two[0].0 == 200), "{:?}", world.moments);
    }
}

#[test]
fn where_less_is_asked_for_than_all_no_moment_has_all() {
    let mut world = World::new(Mode::Lifecycle, Mode::Lifecycle);
    world.run(600, 20_000.0);
    assert_eq!(world.moments, []);
}

#[test]
fn when_moments_become_too_dear_that_is_told_and_with_fewer_events_the_probes_come_back() {
    let mut world = World::new(Mode::All, Mode::Lifecycle);
    world.run(100, 5_000.0);
    assert!(!world.moments.is_empty(), "{:?}", world.turns);
    let ends = |world: &World| world.told.iter().any(|why| why.contains("even for moments"));
    assert!(!ends(&world), "{:?}", world.told);
    world.events = 50.0;
    world.run(200, 60_000.0);
    assert_eq!(world.policy.mode(), Mode::None, "{:?}", world.turns);
    assert!(ends(&world), "{:?}", world.told);
    // The same work: what was last seen of the hits says nothing of now.
    world.events = 0.001;
    world.run(600, 60_000.0);
    assert_eq!(world.policy.mode(), Mode::All, "{:?}", world.turns);
}
