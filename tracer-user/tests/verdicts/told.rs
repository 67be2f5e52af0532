//! What one watch said.

use jiff::Timestamp;
use serde_json::Value;

/// How sure a finding is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Confidence {
    Suspect,
    Likely,
    Certain,
}

impl Confidence {
    fn read(word: &Value) -> Confidence {
        match word.as_str() {
            Some("certain") => Confidence::Certain,
            Some("likely") => Confidence::Likely,
            Some("suspect") => Confidence::Suspect,
            _ => panic!("no confidence: {word}"),
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Confidence::Suspect => "suspect",
            Confidence::Likely => "likely",
            Confidence::Certain => "certain",
        }
    }
}

/// One line about a finding.
pub struct Told {
    pub kind: String,
    pub confidence: Confidence,
    pub pattern: Option<String>,
    pub count: u64,
    /// Seconds from the start of the watch.
    pub after: f64,
    pub tasks: Vec<u64>,
    /// Function and line.
    pub wait_site: (String, u64),
    pub reasons: Vec<String>,
}

/// Everything one watch said.
pub struct Said {
    /// Lines that open or update a finding, in their order.
    pub told: Vec<Told>,
    /// Records lost, of all kinds.
    pub lost: u64,
    /// How often the probes were changed to stay so, and whether moments came.
    pub changes: u64,
    pub moments: bool,
}

impl Said {
    /// Reads the lines of a watch up to its summary.
    pub fn read(lines: &[Value]) -> Result<Said, String> {
        let summary = lines
            .iter()
            .rfind(|l| l["schema"] == "loiter.summary/1")
            .ok_or_else(|| format!("no summary: {lines:?}"))?;
        let ended = moment(&summary["ended_at"]);
        let watched = summary["watched_ns"].as_f64().expect("a time") / 1e9;
        let after = |at: &Value| watched - (ended - moment(at)) / 1e9;
        let finding = |l: &&Value| l["schema"] == "loiter.finding/1" && l["change"] != "resolved";
        let told = lines.iter().filter(finding).map(|l| Told::read(l, after(&l["at"]))).collect();
        let lost = summary["lost"].as_object().expect("losses");
        let is_moment = |l: &Value| l["schema"] == "loiter.mode/1" && l["sampled"].is_object();
        Ok(Said {
            told,
            lost: lost.values().filter_map(Value::as_u64).sum(),
            changes: summary["cost"]["changes"].as_u64().unwrap_or(0),
            moments: lines.iter().any(is_moment),
        })
    }

    /// The surest line that fits, the first of equals.
    pub fn surest(&self, fits: impl Fn(&Told) -> bool) -> Option<&Told> {
        let mut best: Option<&Told> = None;
        for told in self.told.iter().filter(|told| fits(told)) {
            if best.is_none_or(|best| told.confidence > best.confidence) {
                best = Some(told);
            }
        }
        best
    }
}

impl Told {
    fn read(line: &Value, after: f64) -> Told {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        Told {
            kind: text(&line["kind"]),
            confidence: Confidence::read(&line["confidence"]),
            pattern: line["advice"]["pattern"].as_str().map(str::to_owned),
            count: line["count"].as_u64().expect("a number"),
            after,
            tasks: list(&line["tasks"]).iter().filter_map(Value::as_u64).collect(),
            wait_site: (
                text(&line["wait_site"]["function"]),
                line["wait_site"]["line"].as_u64().unwrap_or(0),
            ),
            reasons: list(&line["evidence"]["reasons"]).iter().map(text).collect(),
        }
    }
}

/// Nanoseconds since the epoch; exact enough as a float for differences of seconds.
fn moment(value: &Value) -> f64 {
    let text = value.as_str().expect("a moment");
    let at: Timestamp = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
    at.as_nanosecond() as f64
}
