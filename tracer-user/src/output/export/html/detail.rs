//! The second reading: keeps what is shown. Bounded by the constants of this room. May use: view, base.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::base::{Frame, KTime, ProcId, TaskId, TaskState};
use crate::output::frames::named_place;
use crate::stream::LossKind;
use crate::view::timeline::{Counts, Ended, FindingChange, Moment, Phase, Slice, TimelineSink};
use crate::view::{Confidence, Exactness, FindingKind, FindingView, Names, WallTime};

use super::data::Strings;
use super::survey::{Chosen, Survey};
use super::thin::{Bit, EXACT, GOES_ON, NOT_KNOWN, Thinned};
use super::{MAX_NAMED, Place, SHADES, shade};

/// Into how many stretches the time is cut for what is summed up.
pub(super) const BUCKETS: usize = 480;
/// Slices of all tasks together, about.
const MAX_SLICES: usize = 60_000;
/// Most findings, marks and phases shown.
const MAX_FINDINGS: usize = 200;
const MAX_MARKS: usize = 400;
const MAX_PHASES: usize = 2_000;

/// A task with a row.
pub(super) struct Row {
    pub named: bool,
    pub slices: Thinned,
}

/// A site with a row.
pub(super) struct Site {
    pub place: Place,
    pub frame: Option<Arc<Frame>>,
    pub named: bool,
    pub rows: BTreeMap<TaskId, Row>,
    /// Task time by shade and stretch, ns.
    pub strip: [Vec<f64>; SHADES],
    named_rows: usize,
    /// Whether it has tasks without a row.
    pub more: bool,
}

/// What a finding did, when.
pub(super) struct Mark {
    pub at: u64,
    pub change: FindingChange,
    pub kind: FindingKind,
    pub confidence: Confidence,
    pub count: u64,
}

/// Counts of one stretch: those with the most tasks.
#[derive(Clone, Copy, Default)]
pub(super) struct Sample {
    pub at: u64,
    pub shades: [u64; SHADES],
    pub rss: u64,
}

/// See the module.
pub struct Detail {
    pub(super) from: KTime,
    pub(super) wall: WallTime,
    pub(super) span: u64,
    pub(super) sites: Vec<Site>,
    pub(super) strings: Strings,
    pub(super) samples: BTreeMap<usize, Sample>,
    pub(super) losses: BTreeMap<(usize, usize), (u64, u64, u64, LossKind)>,
    pub(super) marks: Vec<Mark>,
    pub(super) phases: Vec<Phase>,
    pub(super) findings: BTreeMap<String, (FindingChange, FindingView)>,
    pub(super) left_out: Vec<String>,
    index: HashMap<Place, usize, RandomState>,
    named: std::collections::HashSet<(ProcId, u64)>,
    /// As last told.
    shades: [u64; SHADES],
    rss: u64,
    marks_left_out: u64,
    findings_left_out: u64,
    phases_left_out: u64,
    cap: usize,
}

impl Detail {
    /// Will keep what the survey has found to matter.
    pub fn new(mut survey: Survey) -> Self {
        let (chosen, sites_left_out) = survey.choose();
        let from = survey.from.unwrap_or_default();
        let span = survey.until.since(from).0.max(1);
        let tasks: usize = chosen.iter().map(|c| c.tasks.len() + MAX_NAMED).sum();
        let cap = (MAX_SLICES / tasks.max(1)).clamp(48, 2_000);
        let mut left_out = Vec::new();
        if sites_left_out > 0 {
            left_out.push(format!("{sites_left_out} spawn sites have no row in the timeline"));
        }
        let index = chosen.iter().enumerate().map(|(i, c)| (c.place, i)).collect();
        Self {
            from,
            wall: survey.wall.unwrap_or(WallTime(0)),
            span,
            sites: chosen.into_iter().map(|c| Site::new(c, span, cap)).collect(),
            strings: Strings::default(),
            samples: BTreeMap::new(),
            losses: BTreeMap::new(),
            marks: Vec::new(),
            phases: Vec::new(),
            findings: BTreeMap::new(),
            left_out,
            index,
            named: std::mem::take(&mut survey.named),
            shades: [0; SHADES],
            rss: 0,
            marks_left_out: 0,
            findings_left_out: 0,
            phases_left_out: 0,
            cap,
        }
    }

    /// Nothing more will come: says what was left out.
    pub(super) fn close(&mut self) {
        let more = self.sites.iter().filter(|s| s.more).count();
        let told = [
            (
                more as u64,
                "spawn sites have more tasks than rows: the ones with the longest stretches and those of findings are shown",
            ),
            (self.marks_left_out, "changes of findings have no mark"),
            (self.findings_left_out, "findings are not shown"),
            (self.phases_left_out, "phases of the runtime are not shown"),
        ];
        let told = told.into_iter().filter(|(n, _)| *n > 0);
        self.left_out.extend(told.map(|(n, what)| format!("{n} {what}")));
    }

    /// ns after the start, within the time shown.
    fn offset(&self, at: KTime) -> u64 {
        at.since(self.from).0.min(self.span)
    }

    fn bucket(&self, offset: u64) -> usize {
        let at = u128::from(offset) * BUCKETS as u128 / u128::from(self.span);
        usize::try_from(at).unwrap_or(usize::MAX).min(BUCKETS - 1)
    }

    fn slice(&mut self, slice: &Slice, names: &Names) {
        let place = Place::of(slice.process, slice.origin);
        let Some(&index) = self.index.get(&place) else { return };
        let (since, until) = (self.offset(slice.since), self.offset(slice.until));
        let (span, cap) = (self.span, self.cap);
        let named = self.named.contains(&(slice.process, slice.task.number));
        let Some(site) = self.sites.get_mut(index) else { return };
        site.sum(shade(slice.state), since, until, span);
        let Some(row) = site.row(slice.task, named, span, cap) else { return };
        let reason = match slice.state {
            TaskState::Unknown => self.strings.of("alive, state not known"),
            _ => names.reason(slice.reason).map_or(0, |r| self.strings.of(&r.word)),
        };
        let wait_site =
            names.frame(slice.wait_site).map_or(0, |f| self.strings.of(&named_place(f)));
        let mut flags = if slice.began == Exactness::Exact { EXACT } else { 0 };
        flags |= match slice.ended {
            Ended::GoesOn => GOES_ON,
            Ended::NotKnown => NOT_KNOWN,
            Ended::WentOn | Ended::Gone => 0,
        };
        let shade = shade(slice.state);
        row.slices.add(Bit { since, until, shade, reason, site: wait_site, flags, many: 1 });
    }

    fn counts(&mut self, counts: &Counts) {
        self.shades = [0; SHADES];
        for (state, n) in TaskState::ALL.iter().zip(counts.by_state) {
            if let Some(sum) = self.shades.get_mut(shade(*state)) {
                *sum += n;
            }
        }
        self.sample(counts.at);
    }

    /// Keeps the counts as they are now, if no others of this stretch are higher.
    fn sample(&mut self, at: KTime) {
        let at = self.offset(at);
        let sample = Sample { at, shades: self.shades, rss: self.rss };
        let bucket = self.bucket(at);
        let kept = self.samples.entry(bucket).or_insert(sample);
        let total = |sample: &Sample| sample.shades.iter().sum::<u64>();
        let rss = kept.rss.max(sample.rss);
        if total(kept) <= total(&sample) {
            *kept = sample;
        }
        kept.rss = rss;
    }

    fn finding(&mut self, at: u64, change: FindingChange, finding: &FindingView) {
        if self.marks.len() < MAX_MARKS {
            let (kind, confidence, count) = (finding.kind, finding.confidence, finding.count);
            self.marks.push(Mark { at, change, kind, confidence, count });
        } else {
            self.marks_left_out += 1;
        }
        if self.findings.len() < MAX_FINDINGS || self.findings.contains_key(&finding.id) {
            self.findings.insert(finding.id.clone(), (change, finding.clone()));
        } else if change == FindingChange::Opened {
            self.findings_left_out += 1;
        }
    }

    fn phase(&mut self, phase: &Phase) {
        if self.phases.len() < MAX_PHASES {
            self.phases.push(phase.clone());
            return;
        }
        self.phases_left_out += 1;
        let length = |p: &Phase| p.until.since(p.since);
        if let Some(least) = self.phases.iter_mut().min_by_key(|p| length(p))
            && length(least) < length(phase)
        {
            *least = phase.clone();
        }
    }
}

impl Site {
    fn new(chosen: Chosen, span: u64, cap: usize) -> Self {
        let Chosen { place, frame, named, tasks } = chosen;
        let row = || Row { named: false, slices: Thinned::new(span, cap) };
        Self {
            place,
            frame,
            named,
            rows: tasks.into_iter().map(|task| (task, row())).collect(),
            strip: std::array::from_fn(|_| Vec::new()),
            named_rows: 0,
            more: false,
        }
    }

    /// The row of a task, if it has one.
    fn row(&mut self, task: TaskId, named: bool, span: u64, cap: usize) -> Option<&mut Row> {
        if !self.rows.contains_key(&task) {
            if !named || self.named_rows >= MAX_NAMED {
                self.more = true;
                return None;
            }
            self.named_rows += 1;
            self.rows.insert(task, Row { named, slices: Thinned::new(span, cap) });
        }
        let row = self.rows.get_mut(&task)?;
        row.named |= named;
        Some(row)
    }

    /// Adds task time to the stretches it lies in.
    fn sum(&mut self, shade: usize, since: u64, until: u64, span: u64) {
        let Some(strip) = self.strip.get_mut(shade) else { return };
        if strip.is_empty() {
            // One more, for what begins to be taken away after the last.
            strip.resize(2 * (BUCKETS + 1), 0.0);
        }
        let size = span as f64 / BUCKETS as f64;
        let (a, b) = (since as f64 / size, until as f64 / size);
        let (first, last) = ((a as usize).min(BUCKETS - 1), (b as usize).min(BUCKETS - 1));
        let mut add = |at: usize, n: f64| {
            if let Some(sum) = strip.get_mut(at) {
                *sum += n;
            }
        };
        if first == last {
            add(first, b - a);
            return;
        }
        add(first, (first + 1) as f64 - a);
        add(last, b - last as f64);
        // Whole stretches: a one comes at the first of them and goes after the last.
        add(BUCKETS + 1 + first + 1, 1.0);
        add(BUCKETS + 1 + last, -1.0);
    }

    /// How many tasks there were in each stretch, on average; empty where there were none.
    pub fn strip(&self, shade: usize) -> Vec<f64> {
        let Some(strip) = self.strip.get(shade).filter(|s| !s.is_empty()) else {
            return Vec::new();
        };
        let (partial, whole) = strip.split_at(BUCKETS + 1);
        let mut running = 0.0;
        let sums = partial.iter().zip(whole).take(BUCKETS).map(|(part, step)| {
            running += step;
            ((part + running) * 1000.0).round() / 1000.0
        });
        sums.collect()
    }
}

impl TimelineSink for Detail {
    fn moment(&mut self, moment: &Moment<'_>, names: &Names) -> io::Result<()> {
        match moment {
            Moment::Slice(slice) => self.slice(slice, names),
            Moment::Counts(counts) => self.counts(counts),
            Moment::Memory { at, rss_bytes, .. } => {
                self.rss = *rss_bytes;
                self.sample(*at);
            }
            Moment::Loss(loss) => {
                let (since, until) = (self.offset(loss.since), self.offset(loss.until));
                let key = (self.bucket(since), self.bucket(until));
                let kept = self.losses.entry(key).or_insert((since, until, 0, loss.kind));
                *kept = (since.min(kept.0), until.max(kept.1), kept.2 + loss.count, loss.kind);
            }
            Moment::Finding { at, change, finding, .. } => {
                self.finding(self.offset(*at), *change, finding);
            }
            Moment::Phase(phase) => self.phase(phase),
            Moment::Process { .. }
            | Moment::ProcessEnd { .. }
            | Moment::Wake(_)
            | Moment::Mode { .. } => {}
        }
        Ok(())
    }
}
