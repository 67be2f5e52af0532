//! A goroutine profile as pprof reads it: profile.proto (github.com/google/pprof, proto/profile.proto),
//! packed with gzip. Stacks have all frames, as those of Go's own goroutine profile have, so that
//! `pprof -diff_base` compares the two. May use: view, base, prost, flate2.

use std::hash::Hash;
use std::io::{self, Write};
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use prost::Message;

use crate::base::{Frame, FrameKind, TaskState};
use crate::output::text::process::noun;
use crate::output::wait_reason;
use crate::view::{DumpView, ProcessView, TaskView, Waited};

/// Writes the profile of these tasks of a dump.
///
/// # Errors
/// The writer's.
pub fn write_pprof(out: &mut dyn Write, dump: &DumpView, tasks: &[&TaskView]) -> io::Result<()> {
    let profile = Builder::default().build(dump, tasks);
    let mut gzip = GzEncoder::new(out, Compression::default());
    gzip.write_all(&profile.encode_to_vec())?;
    gzip.finish()?.flush()
}

/// What makes tasks one sample.
#[derive(PartialEq, Eq, Hash)]
struct Key<'a> {
    stack: &'a [Arc<Frame>],
    state: TaskState,
    reason: &'a str,
    labels: &'a [(Box<str>, Box<str>)],
}

#[derive(Default)]
struct Sum {
    count: i64,
    wait: i64,
}

/// Gives equal things equal ids, from 1 in the order of their coming.
struct Ids<K>(HashMap<K, u64, RandomState>);

impl<K> Default for Ids<K> {
    fn default() -> Self {
        Self(HashMap::default())
    }
}

impl<K: Hash + Eq> Ids<K> {
    /// The id, and whether it is new.
    fn of(&mut self, key: K) -> (u64, bool) {
        let next = self.0.len() as u64 + 1;
        let id = *self.0.entry(key).or_insert(next);
        (id, id == next)
    }
}

#[derive(Default)]
struct Builder<'a> {
    profile: Profile,
    strings: Ids<&'a str>,
    functions: Ids<(&'a str, &'a str)>,
    /// A location is a frame with those that were inlined into it.
    locations: Ids<&'a [Arc<Frame>]>,
}

impl<'a> Builder<'a> {
    fn build(mut self, dump: &'a DumpView, tasks: &[&'a TaskView]) -> Profile {
        // The first string is the empty one.
        self.profile.string_table.push(String::new());
        let process = &dump.process;
        let of_tasks = ValueType { r#type: self.text(noun(process)), unit: self.text("count") };
        let wait = ValueType { r#type: self.text("wait"), unit: self.text("nanoseconds") };
        self.profile.sample_type = vec![of_tasks, wait];
        self.profile.period_type = Some(of_tasks);
        self.profile.period = 1;
        self.profile.default_sample_type = of_tasks.r#type;
        self.profile.time_nanos = dump.taken_at.0;
        self.mapping(process);
        self.samples(tasks);
        for comment in comments(process, tasks) {
            let at = self.owned(comment);
            self.profile.comment.push(at);
        }
        self.profile
    }

    fn text(&mut self, text: &'a str) -> i64 {
        if text.is_empty() {
            return 0;
        }
        let (id, new) = self.strings.of(text);
        if new {
            self.profile.string_table.push(text.to_owned());
        }
        id as i64
    }

    /// A text that is made for the profile; the last ones in its table.
    fn owned(&mut self, text: String) -> i64 {
        self.profile.string_table.push(text);
        self.profile.string_table.len() as i64 - 1
    }

    fn mapping(&mut self, process: &'a ProcessView) {
        let mapping = Mapping {
            id: 1,
            filename: self.text(&process.exe),
            build_id: process.build.build_id.as_deref().map_or(0, |id| self.text(id)),
            has_functions: true,
            has_filenames: true,
            has_line_numbers: true,
            has_inline_frames: true,
        };
        self.profile.mapping.push(mapping);
    }

    fn samples(&mut self, tasks: &[&'a TaskView]) {
        let mut index: HashMap<Key<'a>, usize, RandomState> = HashMap::default();
        let mut sums: Vec<(&'a TaskView, Sum)> = Vec::new();
        for &task in tasks {
            let key = Key {
                stack: &task.frames,
                state: task.state,
                reason: wait_reason(task).unwrap_or_default(),
                labels: &task.labels,
            };
            let at = *index.entry(key).or_insert(sums.len());
            if at == sums.len() {
                sums.push((task, Sum::default()));
            }
            if let Some((_, sum)) = sums.get_mut(at) {
                let waited = task.waited.known().map_or(0, |n| n.0);
                sum.count += 1;
                sum.wait = sum.wait.saturating_add(i64::try_from(waited).unwrap_or(i64::MAX));
            }
        }
        for (task, sum) in sums {
            let sample = Sample {
                location_id: self.stack(task),
                value: vec![sum.count, sum.wait],
                label: self.labels(task),
            };
            self.profile.sample.push(sample);
        }
    }

    fn stack(&mut self, task: &'a TaskView) -> Vec<u64> {
        let mut rest: &'a [Arc<Frame>] = &task.frames;
        if rest.is_empty() {
            // Of who runs no stack can be read.
            rest = task.start.as_slice();
        }
        let mut ids = Vec::new();
        while !rest.is_empty() {
            let called = rest.iter().position(|f| f.kind == FrameKind::Call);
            let (here, after) = rest.split_at(called.map_or(rest.len(), |at| at + 1));
            ids.push(self.location(here));
            rest = after;
        }
        ids
    }

    fn location(&mut self, frames: &'a [Arc<Frame>]) -> u64 {
        let (id, new) = self.locations.of(frames);
        if new {
            let line = frames.iter().map(|f| self.line(f)).collect();
            self.profile.location.push(Location { id, mapping_id: 1, line });
        }
        id
    }

    fn line(&mut self, frame: &'a Frame) -> Line {
        let (id, new) = self.functions.of((&frame.function, &frame.file));
        if new {
            let name = self.text(&frame.function);
            let filename = self.text(&frame.file);
            self.profile.function.push(Function { id, name, system_name: name, filename });
        }
        Line { function_id: id, line: frame.line.into() }
    }

    fn labels(&mut self, task: &'a TaskView) -> Vec<Label> {
        let state = ("state", task.state.word());
        let reason = wait_reason(task).map(|word| ("wait reason", word));
        let told = task.labels.iter().map(|(key, value)| (&**key, &**value));
        let unread = task.frames.is_empty().then_some(("stack", "not read"));
        let all = told.chain([state]).chain(reason).chain(unread);
        all.map(|(key, value)| Label { key: self.text(key), str: self.text(value) }).collect()
    }
}

/// What a reader has to know and the format has no field for.
fn comments(process: &ProcessView, tasks: &[&TaskView]) -> Vec<String> {
    let count = |fits: fn(&Waited) -> bool| tasks.iter().filter(|t| fits(&t.waited)).count();
    let mut all = vec![
        format!("PID {}, {}", process.pid, process.runtime_version),
        format!(
            "waits: {} exact, {} at least as long, {} not known and told as 0",
            count(|w| matches!(w, Waited::Exact(_))),
            count(|w| matches!(w, Waited::AtLeast(_))),
            count(|w| matches!(w, Waited::Unknown)),
        ),
    ];
    all.extend(process.degraded.iter().map(|why| format!("degraded: {why}")));
    all
}

#[derive(Clone, PartialEq, Message)]
struct Profile {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    mapping: Vec<Mapping>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
    #[prost(int64, tag = "9")]
    time_nanos: i64,
    #[prost(message, optional, tag = "11")]
    period_type: Option<ValueType>,
    #[prost(int64, tag = "12")]
    period: i64,
    #[prost(int64, repeated, tag = "13")]
    comment: Vec<i64>,
    #[prost(int64, tag = "14")]
    default_sample_type: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct ValueType {
    #[prost(int64, tag = "1")]
    r#type: i64,
    #[prost(int64, tag = "2")]
    unit: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
    #[prost(message, repeated, tag = "3")]
    label: Vec<Label>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Label {
    #[prost(int64, tag = "1")]
    key: i64,
    #[prost(int64, tag = "2")]
    str: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Mapping {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "5")]
    filename: i64,
    #[prost(int64, tag = "6")]
    build_id: i64,
    #[prost(bool, tag = "7")]
    has_functions: bool,
    #[prost(bool, tag = "8")]
    has_filenames: bool,
    #[prost(bool, tag = "9")]
    has_line_numbers: bool,
    #[prost(bool, tag = "10")]
    has_inline_frames: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    mapping_id: u64,
    #[prost(message, repeated, tag = "4")]
    line: Vec<Line>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Line {
    #[prost(uint64, tag = "1")]
    function_id: u64,
    #[prost(int64, tag = "2")]
    line: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Function {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
    #[prost(int64, tag = "3")]
    system_name: i64,
    #[prost(int64, tag = "4")]
    filename: i64,
}
