//! Numbers before they are written: families of samples, the same for every form. A sample belongs to a
//! process or to loiter itself; two with equal labels are one. May use: nothing of ours.

use std::collections::BTreeMap;

/// Names and values of labels.
pub type Labels = Vec<(&'static str, String)>;

/// What the number is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// A count.
    None,
    /// Bytes.
    Bytes,
    /// A part of one.
    Ratio,
    /// Seconds.
    Seconds,
}

impl Unit {
    /// What a name ends in, with it.
    pub const fn suffix(self) -> &'static str {
        match self {
            Unit::None => "",
            Unit::Bytes => "_bytes",
            Unit::Ratio => "_ratio",
            Unit::Seconds => "_seconds",
        }
    }

    /// In the Unified Code for Units of Measure, as OTLP wants it.
    pub const fn ucum(self) -> &'static str {
        match self {
            Unit::None | Unit::Ratio => "1",
            Unit::Bytes => "By",
            Unit::Seconds => "s",
        }
    }
}

/// How a number behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// It goes up and down.
    Gauge,
    /// It only grows.
    Counter,
    /// Counts of lengths by class.
    Histogram,
}

/// Counts by class.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Histogram {
    /// How many in all.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// Up to which value a class reaches, and how many are in it alone; the last has no end.
    pub classes: Vec<(f64, u64)>,
}

/// A number.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// A whole one.
    Count(u64),
    /// One with a fraction.
    Real(f64),
    /// Lengths.
    Lengths(Histogram),
}

impl Value {
    /// Both together.
    fn add(&mut self, other: Value) {
        match (self, other) {
            (Value::Count(a), Value::Count(b)) => *a = a.saturating_add(b),
            (Value::Real(a), Value::Real(b)) => *a += b,
            (Value::Lengths(a), Value::Lengths(b)) => a.add(&b),
            (old, new) => *old = new,
        }
    }
}

impl Histogram {
    fn add(&mut self, other: &Histogram) {
        self.count = self.count.saturating_add(other.count);
        self.sum += other.sum;
        for ((_, count), (_, more)) in self.classes.iter_mut().zip(&other.classes) {
            *count = count.saturating_add(*more);
        }
    }
}

/// Which sample of a family.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Key {
    /// Of which process, by its place in [`Gathered::processes`]; None = of loiter.
    pub process: Option<usize>,
    /// Labels beside those of the process.
    pub labels: Labels,
}

/// Samples of one name.
#[derive(Clone, PartialEq, Debug)]
pub struct Family {
    /// Without the prefix and without what its unit adds.
    pub name: &'static str,
    /// What the number is of.
    pub unit: Unit,
    /// How it behaves.
    pub kind: Kind,
    /// What it means.
    pub help: &'static str,
    /// The numbers.
    pub samples: BTreeMap<Key, Value>,
}

impl Family {
    /// One without samples.
    pub const fn new(kind: Kind, name: &'static str, unit: Unit, help: &'static str) -> Self {
        Self { name, unit, kind, help, samples: BTreeMap::new() }
    }

    /// Adds a number to a sample.
    pub fn put(&mut self, key: &Key, value: Value) {
        match self.samples.get_mut(key) {
            Some(there) => there.add(value),
            None => drop(self.samples.insert(key.clone(), value)),
        }
    }
}

/// What is known of a process for the labels of its samples.
#[derive(Clone, PartialEq, Debug)]
pub struct Whose {
    /// On every series.
    pub labels: Labels,
    /// The rest, told once.
    pub info: Labels,
    /// From when on its counters count, ns since the Unix epoch.
    pub since: i64,
}

/// Everything that is told at one moment.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Gathered {
    /// The processes.
    pub processes: Vec<Whose>,
    /// Families with samples.
    pub families: Vec<Family>,
}
