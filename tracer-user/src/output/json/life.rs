//! `loiter.life/1`: one task's life. May use: view.

use std::io::{self, Write};

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::parts::{Moment, Site, word};
use super::safe::write_line;
use crate::view::WallTime;
use crate::view::life::{LifeEvent, LifeView, NamedBy};

#[derive(serde::Serialize)]
struct Life<'a> {
    schema: &'static str,
    task: u64,
    left_out: u64,
    events: Vec<Event<'a>>,
}

struct Event<'a>(WallTime, &'a LifeEvent);

impl Serialize for Event<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(None)?;
        map.serialize_entry("at", &Moment(self.0))?;
        match self.1 {
            LifeEvent::Born { parent, spawn_site, start } => {
                map.serialize_entry("event", "born")?;
                map.serialize_entry("parent", parent)?;
                map.serialize_entry("spawn_site", &Site::of(spawn_site))?;
                map.serialize_entry("start", &Site::of(start))?;
            }
            LifeEvent::Parked { reason } => {
                map.serialize_entry("event", "parked")?;
                map.serialize_entry("wait_reason", &word(reason))?;
            }
            LifeEvent::Readied { by } => {
                map.serialize_entry("event", "readied")?;
                map.serialize_entry("by", by)?;
            }
            LifeEvent::Ran => map.serialize_entry("event", "ran")?,
            LifeEvent::Waited { lasted, reason, by } => {
                map.serialize_entry("event", "waited")?;
                map.serialize_entry("waited_ns", &lasted.0)?;
                map.serialize_entry("wait_reason", &word(reason))?;
                map.serialize_entry("by", by)?;
            }
            LifeEvent::Called { call, lasted, result, outcome, woken } => {
                map.serialize_entry("event", "called")?;
                map.serialize_entry("call", call)?;
                map.serialize_entry("lasted_ns", &lasted.0)?;
                map.serialize_entry("result", result)?;
                map.serialize_entry("outcome", outcome)?;
                map.serialize_entry("woken", woken)?;
            }
            LifeEvent::Bore { task } => {
                map.serialize_entry("event", "created")?;
                map.serialize_entry("task", task)?;
            }
            LifeEvent::Woke { task } => {
                map.serialize_entry("event", "woke")?;
                map.serialize_entry("task", task)?;
            }
            LifeEvent::Seen { state, reason, wait_site } => {
                map.serialize_entry("event", "seen")?;
                map.serialize_entry("state", state.word())?;
                map.serialize_entry("wait_reason", &word(reason))?;
                map.serialize_entry("wait_site", &Site::of(wait_site))?;
            }
            LifeEvent::Gone => map.serialize_entry("event", "gone")?,
            LifeEvent::Named { finding, kind, change } => {
                map.serialize_entry("event", "finding")?;
                map.serialize_entry("finding_id", finding)?;
                map.serialize_entry("kind", kind.word())?;
                let change = match change {
                    NamedBy::Opened => "opened",
                    NamedBy::Updated => "updated",
                    NamedBy::Resolved => "resolved",
                };
                map.serialize_entry("change", change)?;
            }
            LifeEvent::Stopped { lasted } => {
                map.serialize_entry("event", "stopped")?;
                map.serialize_entry("lasted_ns", &lasted.0)?;
            }
            LifeEvent::Lost { kind, count } => {
                map.serialize_entry("event", "lost")?;
                map.serialize_entry("kind", kind.word())?;
                map.serialize_entry("count", count)?;
            }
            LifeEvent::Ended => map.serialize_entry("event", "ended")?,
        }
        map.end()
    }
}

/// Writes a life.
///
/// # Errors
/// The writer's.
pub fn write_life(out: &mut dyn Write, life: &LifeView) -> io::Result<()> {
    let events = life.events.iter().map(|(at, event)| Event(*at, event)).collect();
    let LifeView { id, left_out, .. } = *life;
    write_line(out, &Life { schema: "loiter.life/1", task: id, left_out, events })
}
