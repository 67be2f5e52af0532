//! `doctor`: what this kernel and these rights allow; for a process also what would be probed and
//! what that would cost, from hit rates counted with the probes on for a moment.

mod host;
mod sleeps;

use std::time::Duration;

use anyhow::Context as _;

use crate::base::{Nanos, ProcId};
use crate::kernel::{AttachTarget, Features, Kernel, Kinds, LoadSettings};
use crate::runtime::plan::{ProbePlan, Site, SiteKind};
use crate::stream::{LookSeq, Mode};
use crate::view::build;
use crate::view::doctor::{DoctorView, PlanGapView, SiteView, TargetPlanView};

use super::budget;
use super::clock;
use super::open::{Opened, SiteProbing, open};
use super::settings::{DoctorSettings, TargetSettings};

/// The ring is emptied so often while hits are counted.
const DRAIN_EVERY: Duration = Duration::from_millis(20);
/// Records taken at a time.
const MOST: usize = 100_000;
/// Sleeps are counted for so long unless said otherwise.
const COUNT_SLEEPS_FOR: Nanos = Nanos::from_secs(1);
/// While counting, no wait leaves a record.
const NO_WAITS: Nanos = Nanos(u64::MAX);

/// Says what can be traced here, what would be probed in a process, and what it would cost.
///
/// # Errors
/// If the process cannot be examined. That this kernel or these rights do not allow tracing is an
/// answer, not an error.
pub fn doctor(settings: &DoctorSettings) -> anyhow::Result<DoctorView> {
    let features = Features::detect();
    let target = match &settings.target {
        Some(target) => {
            let can_probe = features.obstacles().is_empty();
            Some(examine(target, settings.measure.filter(|_| can_probe))?)
        }
        None => None,
    };
    Ok(DoctorView {
        kernel: features.kernel.text.clone(),
        machine: std::env::consts::ARCH.to_owned(),
        surroundings: host::surroundings(&features),
        features: host::features(&features),
        rights: host::rights(&features),
        target,
    })
}

fn examine(target: &TargetSettings, measure: Option<Nanos>) -> anyhow::Result<TargetPlanView> {
    let Opened { def, mut looks, probing, .. } = open(target, ProcId(1))?;
    let mut tasks = 0u64;
    let look = looks.look(LookSeq(1), &clock::now, &mut |input| {
        if let crate::stream::Input::SnapshotTask(task) = input {
            tasks = tasks.saturating_add(u64::from(!task.system));
        }
    });
    let counted_for = measure.unwrap_or(COUNT_SLEEPS_FOR);
    let sites = probing.sites();
    let plan = sites.map(SiteProbing::plan).transpose()?.unwrap_or_default();
    let hits = match (measure, sites) {
        (Some(over), Some(sites)) => Some(count_hits((sites, probing.target()), &plan, over)?),
        _ => None,
    };
    let costs = hits.as_ref().map(|(hits, over)| Costs::at(&plan, hits, *over));
    let costs = costs.unwrap_or_else(Costs::at_full_load);
    let site = |(index, site): (usize, &Site)| SiteView {
        kind: site.kind.word().to_owned(),
        mode: mode_of(site.kind),
        function: site.function.to_string(),
        address: site.address,
        file_offset: site.file_offset,
        function_offset: sites.and_then(|sites| sites.function_offset(site)),
        instruction: site.text.to_string(),
        location: site.location.to_string(),
        why: site.why.to_string(),
        hits: hits.as_ref().and_then(|(hits, _)| hits.get(index)).copied(),
        cost_per_hit: costs.of(mode_of(site.kind)),
    };
    Ok(TargetPlanView {
        process: build::described(&def),
        tasks: look.is_ok().then_some(tasks),
        look_took: look.ok().map(|outcome| outcome.took),
        sites: plan.sites.iter().enumerate().map(site).collect(),
        degraded: plan
            .degraded
            .iter()
            .map(|gap| PlanGapView {
                kind: gap.kind.word().to_owned(),
                reason: gap.reason.to_string(),
            })
            .collect(),
        measured_for: hits.map(|(_, over)| over),
        sleeps: match sites {
            Some(_) => None,
            None => sleeps::count(target.pid, counted_for),
        },
    })
}

/// What one hit costs in all - trap, program, record and its way through loiter - in each mode, as the
/// budget reckons before it has measured anything: rare hits find cold caches.
struct Costs {
    lifecycle: Nanos,
    all: Nanos,
}

impl Costs {
    /// With so many hits of each site.
    fn at(plan: &ProbePlan, hits: &[u64], over: Nanos) -> Self {
        let rate = |mode: Mode| {
            let sites = plan.sites.iter().zip(hits).filter(|(site, _)| mode_of(site.kind) <= mode);
            let hits: u64 = sites.map(|(_, hits)| *hits).sum();
            hits as f64 / over.as_secs_f64()
        };
        Self {
            lifecycle: budget::usual_cost(rate(Mode::Lifecycle)),
            all: budget::usual_cost(rate(Mode::All)),
        }
    }

    fn at_full_load() -> Self {
        let least = budget::usual_cost(f64::INFINITY);
        Self { lifecycle: least, all: least }
    }

    const fn of(&self, mode: Mode) -> Nanos {
        match mode {
            Mode::All => self.all,
            Mode::Lifecycle | Mode::None => self.lifecycle,
        }
    }
}

/// The smallest mode that attaches a kind of site.
const fn mode_of(kind: SiteKind) -> Mode {
    match kind {
        SiteKind::Birth | SiteKind::Death => Mode::Lifecycle,
        SiteKind::Park | SiteKind::Run | SiteKind::Ready => Mode::All,
    }
}

/// Hits of each site, and over which time. Each site has a slot of its own, so that sites of one
/// kind are told apart.
fn count_hits(
    (probing, target): (&SiteProbing, &AttachTarget),
    plan: &ProbePlan,
    over: Nanos,
) -> anyhow::Result<(Vec<u64>, Nanos)> {
    let mut kernel = Kernel::load(&LoadSettings::default())?;
    let mut slots = Vec::with_capacity(plan.sites.len());
    for site in &plan.sites {
        let alone = ProbePlan { sites: vec![site.clone()], degraded: Vec::new() };
        let kinds = Kinds::NONE.with(site.kind);
        let config = probing.config(NO_WAITS);
        slots.push(kernel.attach(target, &alone, kinds, config)?.slot);
    }
    let read = |kernel: &Kernel| -> anyhow::Result<Vec<u64>> {
        let hits = slots.iter().map(|&slot| Ok(kernel.counters(slot)?.hits.iter().sum()));
        hits.collect()
    };
    let (before, began) = (read(&kernel)?, clock::now());
    while clock::now().since(began) < over {
        // The records are not wanted; a full ring would make hits cheaper than they are.
        while kernel.drain(MOST, |_| {}).more {}
        std::thread::sleep(DRAIN_EVERY);
    }
    let after = read(&kernel)?;
    let took = clock::now().since(began);
    for slot in slots {
        kernel.detach(slot).context("cannot take the probes off again")?;
    }
    let hits = after.iter().zip(&before).map(|(after, before)| after.saturating_sub(*before));
    Ok((hits.collect(), took))
}
