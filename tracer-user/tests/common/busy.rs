//! What a machine that does other things takes from a test.

use std::time::Duration;

/// What had been taken at a moment.
pub struct Busy {
    waited: Duration,
    stolen: Duration,
}

impl Busy {
    /// Until now.
    pub fn now() -> Busy {
        Busy { waited: waited(), stolen: stolen() }
    }

    /// Since then, at most: for how long somebody was not let run, and processors were another
    /// machine's.
    pub fn since(&self) -> Duration {
        waited().saturating_sub(self.waited) + stolen().saturating_sub(self.stolen)
    }
}

/// For how long some thread of this machine waited for a processor (`some` of pressure stall information).
fn waited() -> Duration {
    let text = std::fs::read_to_string("/proc/pressure/cpu").unwrap_or_default();
    let total = text.split_whitespace().find_map(|word| word.strip_prefix("total="));
    Duration::from_micros(total.and_then(|total| total.parse().ok()).unwrap_or(0))
}

/// For how long the host of this machine did not let its processors run, which the scheduler does not
/// know: the eighth number of /proc/stat, in hundredths of a second.
pub fn stolen() -> Duration {
    let stat = std::fs::read_to_string("/proc/stat").unwrap();
    let steal = stat.lines().next().unwrap().split_whitespace().nth(8).unwrap();
    Duration::from_millis(10 * steal.parse::<u64>().unwrap())
}
