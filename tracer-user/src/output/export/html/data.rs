//! What the script draws, as one block of JSON. Times are milliseconds after the start. May use: serde.

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::base::FrameKind;
use crate::output::clean::clean;
use crate::output::frames::short_place;
use crate::view::WallTime;
use crate::view::timeline::FindingChange;

use super::detail::{BUCKETS, Detail, Site};
use super::flame::Node;
use super::thin::Bit;
use super::{Place, SHADES};

/// Texts are written once and then meant by a number; 0 is the empty one.
pub struct Strings {
    ids: HashMap<String, u32, RandomState>,
    list: Vec<String>,
}

impl Default for Strings {
    fn default() -> Self {
        Self { ids: HashMap::default(), list: vec![String::new()] }
    }
}

impl Strings {
    /// Its number.
    pub fn of(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        if let Some(&id) = self.ids.get(text) {
            return id;
        }
        let id = u32::try_from(self.list.len()).unwrap_or(u32::MAX);
        self.ids.insert(text.to_owned(), id);
        self.list.push(clean(text).into_owned());
        id
    }
}

#[derive(Serialize)]
struct Data<'a> {
    wall_ms: f64,
    offset_ms: f64,
    zone: String,
    noun: &'static str,
    span: f64,
    buckets: usize,
    counts: Counts,
    losses: Vec<(f64, f64, u64, &'static str)>,
    marks: Vec<Mark>,
    phases: Vec<(f64, f64, u32)>,
    sites: Vec<SiteData>,
    flame: &'a Node,
    strings: &'a [String],
}

#[derive(Serialize)]
struct Counts {
    t: Vec<f64>,
    states: [Vec<u64>; SHADES],
    rss: Vec<u64>,
}

#[derive(Serialize)]
struct Mark {
    t: f64,
    change: &'static str,
    kind: &'static str,
    confidence: &'static str,
    count: u64,
}

#[derive(Serialize)]
struct SiteData {
    name: u32,
    place: u32,
    named: bool,
    strip: [Vec<f64>; SHADES],
    tasks: Vec<Task>,
}

#[derive(Serialize)]
struct Task {
    id: u64,
    named: bool,
    /// Since, length, shade, reason, wait site, flags, how many.
    slices: Vec<(f64, f64, usize, u32, u32, u8, u32)>,
}

/// Milliseconds, exact to the nanosecond.
fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

/// Writes it, and takes the rows out of `detail`.
///
/// # Errors
/// Never: there is nothing in it that JSON has no form for.
pub fn json(
    detail: &mut Detail,
    flame: &Node,
    zone: &TimeZone,
    noun: &'static str,
) -> serde_json::Result<String> {
    let sites = std::mem::take(&mut detail.sites);
    let sites = sites.into_iter().map(|s| site(s, &mut detail.strings)).collect();
    let phases = std::mem::take(&mut detail.phases);
    let from = detail.from;
    let phases = phases.iter().map(|p| {
        (ms(p.since.since(from).0), ms(p.until.since(from).0), detail.strings.of(&p.name))
    });
    let phases = phases.collect();
    let (offset_ms, zone) = offset(detail.wall, zone);
    let samples = || detail.samples.values();
    let data = Data {
        wall_ms: detail.wall.0 as f64 / 1e6,
        offset_ms,
        zone,
        noun,
        span: ms(detail.span),
        buckets: BUCKETS,
        counts: Counts {
            t: samples().map(|s| ms(s.at)).collect(),
            states: std::array::from_fn(|shade| {
                samples().map(|s| s.shades.get(shade).copied().unwrap_or(0)).collect()
            }),
            rss: samples().map(|s| s.rss).collect(),
        },
        losses: detail
            .losses
            .values()
            .map(|&(since, until, n, kind)| (ms(since), ms(until), n, kind.word()))
            .collect(),
        marks: detail
            .marks
            .iter()
            // That it is said again is no news on a chart.
            .filter(|m| m.change != FindingChange::Updated)
            .map(|m| Mark {
                t: ms(m.at),
                change: m.change.word(),
                kind: m.kind.word(),
                confidence: m.confidence.word(),
                count: m.count,
            })
            .collect(),
        phases,
        sites,
        flame,
        strings: &detail.strings.list,
    };
    serde_json::to_string(&data)
}

fn offset(wall: WallTime, zone: &TimeZone) -> (f64, String) {
    let at = Timestamp::from_nanosecond(i128::from(wall.0)).unwrap_or_default();
    let zoned = at.to_zoned(zone.clone());
    (f64::from(zoned.offset().seconds()) * 1e3, zoned.strftime("%Z").to_string())
}

fn site(site: Site, strings: &mut Strings) -> SiteData {
    let (name, place) = match (&site.place, &site.frame) {
        (Place::Runtime(_), _) => {
            ("the runtime".to_owned(), "its own, not the program's".to_owned())
        }
        (_, Some(frame)) => {
            let inlined = if frame.kind == FrameKind::Inlined { ", inlined" } else { "" };
            (frame.function.to_string(), format!("{}{inlined}", short_place(frame)))
        }
        (_, None) => ("created at a place not known".to_owned(), String::new()),
    };
    let strip = std::array::from_fn(|shade| site.strip(shade));
    let mut rows: Vec<Task> = site
        .rows
        .into_iter()
        .map(|(task, row)| {
            let slices = row.slices.finish().iter().map(slice).collect();
            Task { id: task.number, named: row.named, slices }
        })
        .filter(|task| !task.slices.is_empty())
        .collect();
    rows.sort_by_key(|task| (!task.named, task.id));
    SiteData {
        name: strings.of(&name),
        place: strings.of(&place),
        named: site.named,
        strip,
        tasks: rows,
    }
}

fn slice(bit: &Bit) -> (f64, f64, usize, u32, u32, u8, u32) {
    let length = bit.until.saturating_sub(bit.since);
    (ms(bit.since), ms(length), bit.shade, bit.reason, bit.site, bit.flags, bit.many)
}
