//! A trace for the Perfetto UI: a track for each task below one for its spawn site below one for its process,
//! states as slices, wake-ups as flows, tasks by state and memory as counters, losses and findings as marks.
//!
//! Packets are written as they come; kept are only the tracks of tasks that live, and the names last
//! used. Slices come at their end, so time goes back and forth: the reader sorts.
//! May use: view, base, stream, prost, output::{clean, frames}.

mod interned;
mod proto;
mod tracks;

use std::io::{self, Write};
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use prost::Message as _;

use crate::base::{Frame, KTime, ProcId, TaskId, TaskState};
use crate::output::clean::clean;
use crate::output::frames::named_place;
use crate::stream::Loss;
use crate::view::timeline::{
    Counts, Ended, FindingChange, Moment, Origin, Phase, Slice, TimelineSink, Wake,
};
use crate::view::{Exactness, FindingView, Names, WallTime};

use interned::Interned;
use proto::{
    Clock, ClockSnapshot, DebugAnnotation, Packet, PacketDefaults, TrackEvent, packet_bytes,
};
use tracks::{Counter, Track, Tracks};

/// Clocks as Perfetto numbers them (builtin_clock.proto).
const REALTIME: u32 = 1;
const MONOTONIC: u32 = 3;
/// The one sequence of packets.
const SEQUENCE: u32 = 1;
/// What was interned before counts no more (`SEQ_INCREMENTAL_STATE_CLEARED`).
const CLEARED: u32 = 1;
/// The packet refers to what was interned (`SEQ_NEEDS_INCREMENTAL_STATE`).
const NEEDS: u32 = 2;

/// Kinds of track events (`TrackEvent.Type`).
#[derive(Clone, Copy)]
enum Kind {
    Begin = 1,
    End = 2,
    Instant = 3,
    Counter = 4,
}

/// Who woke a task, until its next slice is told.
#[derive(Clone, Copy)]
struct Woken {
    at: KTime,
    by: TaskId,
    /// The track of the waker, where it is known.
    track: Option<u64>,
}

/// Writes a trace.
pub struct PerfettoSink<W> {
    out: W,
    begun: bool,
    interned: Interned,
    tracks: Tracks,
    /// Slices begin no earlier than tracing did.
    start: HashMap<ProcId, KTime, RandomState>,
    woken: HashMap<(ProcId, TaskId), Woken, RandomState>,
    flows: u64,
    /// Numbers of the names of phases.
    phases: HashMap<Arc<str>, u64, RandomState>,
    lost_until: KTime,
}

/// What is known of an event beside its name.
type Args<'a> = Vec<(&'static str, Arg<'a>)>;

enum Arg<'a> {
    Text(&'a str),
    Number(u64),
}

impl<W: Write> PerfettoSink<W> {
    /// One that has written nothing yet.
    pub fn new(out: W) -> Self {
        Self {
            out,
            begun: false,
            interned: Interned::default(),
            tracks: Tracks::default(),
            start: HashMap::default(),
            woken: HashMap::default(),
            flows: 0,
            phases: HashMap::default(),
            lost_until: KTime(0),
        }
    }

    /// The writer.
    pub fn into_out(self) -> W {
        self.out
    }

    fn write(&mut self, packet: Packet) -> io::Result<()> {
        let packet = Packet { trusted_packet_sequence_id: SEQUENCE, ..packet };
        self.out.write_all(&packet_bytes(&packet.encode_to_vec()))
    }

    /// The first packet, and the first after names were forgotten.
    fn begin(&mut self, clocks: Option<(KTime, WallTime)>) -> io::Result<()> {
        self.begun = true;
        let snapshot = clocks.and_then(|(at, wall)| {
            let wall = u64::try_from(wall.0).ok()?;
            let clock = |clock_id, timestamp| Clock { clock_id, timestamp };
            let clocks = vec![clock(MONOTONIC, at.0), clock(REALTIME, wall)];
            Some(ClockSnapshot { clocks, primary_trace_clock: MONOTONIC as i32 })
        });
        self.write(Packet {
            sequence_flags: CLEARED,
            first_packet_on_sequence: true,
            trace_packet_defaults: Some(PacketDefaults { timestamp_clock_id: MONOTONIC }),
            clock_snapshot: snapshot,
            ..Packet::default()
        })
    }

    fn event(
        &mut self,
        at: KTime,
        kind: Kind,
        mut event: TrackEvent,
        name: &str,
        args: Args<'_>,
    ) -> io::Result<()> {
        if !self.begun {
            self.begin(None)?;
        }
        if self.interned.is_full() {
            self.interned = Interned::default();
            self.write(Packet {
                sequence_flags: CLEARED,
                trace_packet_defaults: Some(PacketDefaults { timestamp_clock_id: MONOTONIC }),
                ..Packet::default()
            })?;
        }
        event.r#type = kind as i32;
        if !name.is_empty() {
            event.name_iid = self.interned.event(&clean(name));
        }
        for (name, value) in args {
            let mut annotation =
                DebugAnnotation { name_iid: self.interned.name(name), ..Default::default() };
            match value {
                Arg::Text(text) => annotation.string_value_iid = self.interned.text(&clean(text)),
                Arg::Number(n) => annotation.uint_value = Some(n),
            }
            event.debug_annotations.push(annotation);
        }
        let interned_data = self.interned.take_new();
        self.write(Packet {
            timestamp: Some(at.0),
            sequence_flags: NEEDS,
            interned_data,
            track_event: Some(event),
            ..Packet::default()
        })
    }

    /// The number of a track; it is described before its first use.
    fn track(&mut self, track: Track, name: &dyn Fn() -> String) -> io::Result<u64> {
        let (uuid, descriptors) = self.tracks.get(track, name);
        for descriptor in descriptors {
            self.write(Packet { track_descriptor: Some(descriptor), ..Packet::default() })?;
        }
        Ok(uuid)
    }

    fn task_track(
        &mut self,
        process: ProcId,
        task: TaskId,
        origin: Origin,
        names: &Names,
    ) -> io::Result<u64> {
        let Origin { spawn_site: site, start, system } = origin;
        let parent = if system { Track::Runtime(process) } else { Track::Site(process, site) };
        let place = || site_name(names.frame(site).map(|f| &**f));
        self.track(parent, &place)?;
        let name = || match (system, names.function(start)) {
            (true, start) => format!("{} {} {start}", task.kind.word(), task.number),
            (false, _) => format!("{} {}", task.kind.word(), task.number),
        };
        self.track(Track::Task(process, task, site, system), &name)
    }

    fn slice(&mut self, slice: &Slice, names: &Names) -> io::Result<()> {
        let (process, task) = (slice.process, slice.task);
        let track = self.task_track(process, task, slice.origin, names)?;
        let start = self.start.get(&process).copied().unwrap_or_default();
        let since = slice.since.max(start);
        let reason = names.reason(slice.reason).map_or("", |r| &r.word);
        let waits = matches!(slice.state, TaskState::Waiting);
        let name = match (slice.state, reason) {
            (TaskState::Waiting, reason) if !reason.is_empty() => format!("waiting: {reason}"),
            (TaskState::Unknown, _) => "alive, state not known".to_owned(),
            (state, _) => state.word().to_owned(),
        };
        let mut begin = TrackEvent { track_uuid: track, ..TrackEvent::default() };
        let mut args: Args<'_> = vec![("state", Arg::Text(slice.state.word()))];
        if waits && !reason.is_empty() {
            args.push(("wait reason", Arg::Text(reason)));
        }
        let wait_site = names.frame(slice.wait_site).map(|f| named_place(f));
        if let Some(site) = &wait_site {
            args.push(("wait site", Arg::Text(site)));
        }
        let start_function = names.function(slice.origin.start);
        if !start_function.is_empty() {
            args.push(("runs", Arg::Text(start_function)));
        }
        let began = match slice.began {
            Exactness::Exact => "exact",
            Exactness::AtLeast => "then or earlier",
        };
        args.push(("began", Arg::Text(began)));
        args.push(("ended", Arg::Text(slice.ended.word())));
        if slice.since < start {
            args.push(("before the trace ns", Arg::Number(start.since(slice.since).0)));
        }
        self.arrow(slice, &mut begin, &mut args)?;
        self.event(since, Kind::Begin, begin, &name, args)?;
        let end = TrackEvent { track_uuid: track, ..TrackEvent::default() };
        self.event(slice.until.max(since), Kind::End, end, "", Vec::new())?;
        if slice.ended == Ended::Gone {
            self.tracks.forget(process, task);
            self.woken.remove(&(process, task));
        }
        Ok(())
    }

    /// The arrow from a waker to the slice that it began.
    fn arrow(
        &mut self,
        slice: &Slice,
        begin: &mut TrackEvent,
        args: &mut Args<'_>,
    ) -> io::Result<()> {
        let id = (slice.process, slice.task);
        let Some(woken) = self.woken.get(&id).copied().filter(|w| w.at <= slice.since) else {
            return Ok(());
        };
        self.woken.remove(&id);
        if woken.at != slice.since {
            return Ok(());
        }
        args.push(("woken by", Arg::Number(woken.by.number)));
        let Some(track_uuid) = woken.track else { return Ok(()) };
        self.flows += 1;
        begin.terminating_flow_ids.push(self.flows);
        let source = TrackEvent { track_uuid, flow_ids: vec![self.flows], ..TrackEvent::default() };
        let args = vec![("wakes", Arg::Number(slice.task.number))];
        self.event(woken.at, Kind::Instant, source, "wakes", args)
    }

    fn wake(&mut self, wake: &Wake, names: &Names) -> io::Result<()> {
        let track = match wake.origin {
            Some(origin) => Some(self.task_track(wake.process, wake.by, origin, names)?),
            None => None,
        };
        let woken = Woken { at: wake.at, by: wake.by, track };
        self.woken.insert((wake.process, wake.woken), woken);
        Ok(())
    }

    fn counts(&mut self, counts: &Counts) -> io::Result<()> {
        let states = TaskState::ALL.iter().zip(counts.by_state);
        for (&state, count) in states {
            self.counter(counts.process, Counter::State(state), counts.at, count)?;
        }
        self.counter(counts.process, Counter::System, counts.at, counts.system)
    }

    fn counter(&mut self, of: ProcId, counter: Counter, at: KTime, value: u64) -> io::Result<()> {
        let track = Track::Counter(of, counter);
        if !self.tracks.changes(track, value) {
            return Ok(());
        }
        let track_uuid = self.track(track, &String::new)?;
        let counter_value = Some(i64::try_from(value).unwrap_or(i64::MAX));
        let event = TrackEvent { track_uuid, counter_value, ..TrackEvent::default() };
        self.event(at, Kind::Counter, event, "", Vec::new())
    }

    /// Losses may overlap, slices of a track may not.
    fn loss(&mut self, loss: &Loss) -> io::Result<()> {
        let track_uuid = self.track(Track::Losses, &String::new)?;
        let event = || TrackEvent { track_uuid, ..TrackEvent::default() };
        let since = loss.since.max(self.lost_until);
        let until = loss.until.max(since);
        self.lost_until = until;
        let name = format!("{} lost: {}", loss.count, loss.kind.word());
        let args = vec![
            ("records", Arg::Number(loss.count)),
            ("kind", Arg::Text(loss.kind.word())),
            ("not before", Arg::Number(loss.since.0)),
        ];
        self.event(since, Kind::Begin, event(), &name, args)?;
        self.event(until, Kind::End, event(), "", Vec::new())
    }

    fn finding(
        &mut self,
        (process, at): (ProcId, KTime),
        change: FindingChange,
        finding: &FindingView,
    ) -> io::Result<()> {
        let track_uuid = self.track(Track::Findings(process), &String::new)?;
        let event = TrackEvent { track_uuid, ..TrackEvent::default() };
        let kind = finding.kind.word();
        let reasons = finding.reasons.join("\n");
        let wait_site = finding.wait_site.as_deref().map(named_place);
        let spawn_site = finding.spawn_site.as_deref().map(named_place);
        let at_site = wait_site.as_ref().map_or_else(String::new, |site| format!(" at {site}"));
        let name = format!("{kind} {}: {}{at_site}", change.word(), finding.count);
        let mut args = vec![
            ("finding", Arg::Text(&finding.id)),
            ("kind", Arg::Text(kind)),
            ("confidence", Arg::Text(finding.confidence.word())),
            ("tasks", Arg::Number(finding.count)),
            ("because", Arg::Text(&reasons)),
        ];
        args.extend(wait_site.as_deref().map(|site| ("wait site", Arg::Text(site))));
        args.extend(spawn_site.as_deref().map(|site| ("spawn site", Arg::Text(site))));
        self.event(at, Kind::Instant, event, &name, args)
    }

    /// Phases of one name follow each other; each name has a track.
    fn phase(&mut self, phase: &Phase) -> io::Result<()> {
        let start = self.start.get(&phase.process).copied().unwrap_or_default();
        let next = self.phases.len() as u64;
        let number = *self.phases.entry(phase.name.clone()).or_insert(next);
        let track = Track::Phase(phase.process, number);
        let track_uuid = self.track(track, &|| phase.name.to_string())?;
        let event = || TrackEvent { track_uuid, ..TrackEvent::default() };
        let since = phase.since.max(start);
        self.event(since, Kind::Begin, event(), &phase.name, Vec::new())?;
        self.event(phase.until.max(since), Kind::End, event(), "", Vec::new())
    }

    fn mark(&mut self, process: ProcId, at: KTime, name: &str, why: &str) -> io::Result<()> {
        let track_uuid = self.track(Track::Tracing(process), &String::new)?;
        let event = TrackEvent { track_uuid, ..TrackEvent::default() };
        self.event(at, Kind::Instant, event, name, vec![("why", Arg::Text(why))])
    }
}

impl<W: Write> TimelineSink for PerfettoSink<W> {
    fn moment(&mut self, moment: &Moment<'_>, names: &Names) -> io::Result<()> {
        match moment {
            Moment::Process { process, at, wall, view } => {
                if !self.begun {
                    self.begin(wall.map(|wall| (*at, wall)))?;
                }
                self.start.insert(*process, *at);
                let descriptor = self.tracks.process(*process, view);
                self.write(Packet { track_descriptor: Some(descriptor), ..Packet::default() })
            }
            Moment::ProcessEnd { process, at, how } => {
                self.mark(*process, *at, "process ended", how.word())
            }
            Moment::Slice(slice) => self.slice(slice, names),
            Moment::Wake(wake) => self.wake(wake, names),
            Moment::Phase(phase) => self.phase(phase),
            Moment::Counts(counts) => self.counts(counts),
            Moment::Memory { process, at, rss_bytes, limit_bytes } => {
                self.counter(*process, Counter::Rss, *at, *rss_bytes)?;
                match limit_bytes {
                    Some(limit) => self.counter(*process, Counter::Limit, *at, *limit),
                    None => Ok(()),
                }
            }
            Moment::Loss(loss) => self.loss(loss),
            Moment::Mode { process, at, mode, why } => {
                self.mark(*process, *at, &format!("probes: {}", mode.word()), why)
            }
            Moment::Finding { process, at, change, finding } => {
                self.finding((*process, *at), *change, finding)
            }
        }
    }
}

fn site_name(frame: Option<&Frame>) -> String {
    frame.map_or_else(|| "created at a place not known".to_owned(), named_place)
}
