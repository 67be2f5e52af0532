//! What the zoo says each of its goroutines waits on, against what we found.

use std::path::Path;

use loiter::stream::{ChannelState, LockKind, TaskLook, WaitsOn};

use super::common::GoProc;
use super::look::now;

/// One line: a goroutine, what it waits on, and the values that belong to it.
pub struct Truth {
    pub id: u64,
    what: String,
    values: Vec<String>,
}

/// Asks the zoo.
pub fn ask(process: &mut GoProc, dir: &Path) -> Vec<Truth> {
    let path = dir.join("truth");
    process.ask(&format!("truth {}", path.display()), "told");
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| {
            let mut fields = line.split('\t').map(str::to_owned);
            let id = fields.next().unwrap().parse().unwrap();
            Truth { id, what: fields.next().unwrap(), values: fields.collect() }
        })
        .collect()
}

fn address(text: &str) -> u64 {
    u64::from_str_radix(text.strip_prefix("0x").unwrap(), 16).unwrap()
}

impl Truth {
    /// Whether what we found is what the zoo says; in 1.19 to 1.25 a `sync.Cond` is not known.
    pub fn agrees(&self, task: &TaskLook, minor: u32) -> bool {
        let value = |i: usize| self.values[i].as_str();
        let lock =
            |kind, held| task.waits_on == WaitsOn::Lock { kind, address: address(value(0)), held };
        match self.what.as_str() {
            "recv" | "send" => {
                let WaitsOn::Channels(found) = &task.waits_on else { return false };
                let [found] = **found else { return false };
                found
                    == ChannelState {
                        carries: found.carries,
                        address: address(value(0)),
                        capacity: value(1).parse().unwrap(),
                        length: value(2).parse().unwrap(),
                        closed: false,
                    }
            }
            "select" => {
                let mut expected: Vec<u64> = self.values.iter().map(|v| address(v)).collect();
                let WaitsOn::Channels(found) = &task.waits_on else { return false };
                let mut found: Vec<u64> = found.iter().map(|c| c.address).collect();
                expected.sort_unstable();
                found.sort_unstable();
                found == expected
            }
            "nil" => {
                matches!(&task.waits_on, WaitsOn::Channels(c) if c.len() == 1 && c[0].address == 0)
            }
            "never" => task.waits_on == WaitsOn::Unknown,
            "mutex" => lock(LockKind::Mutex, Some(1)),
            "rw-read" => lock(LockKind::RwRead, Some(1)),
            "rw-write" => lock(LockKind::RwWrite, Some(1)),
            "waitgroup" => lock(LockKind::WaitGroup, Some(2)),
            "cond" if minor < 26 => task.waits_on == WaitsOn::Unknown,
            "cond" => lock(LockKind::Cond, None),
            "sleep" => {
                let WaitsOn::Timer { until } = task.waits_on else { return false };
                let left = until.since(now()).as_secs_f64();
                (3_400.0..=3_600.0).contains(&left)
            }
            "labels" => {
                let found: Vec<String> =
                    task.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
                found == self.values
            }
            other => panic!("the zoo says {other}, which this test does not know"),
        }
    }

    /// Where the runtime noted when a wait for a mutex began, and the zoo when it was about to:
    /// how much later the one is, in seconds.
    pub fn noted_late(&self, task: &TaskLook) -> Option<f64> {
        let told: i128 = self.values.get(1).filter(|_| self.what == "mutex")?.parse().unwrap();
        Some((i128::from(task.waits_since?.0) - told) as f64 / 1e9)
    }

    /// For messages.
    pub fn describe(&self, task: &TaskLook) -> String {
        format!(
            "goroutine {} waits on {} {:?}; found {:?}, labels {:?}",
            self.id, self.what, self.values, task.waits_on, task.labels
        )
    }
}
