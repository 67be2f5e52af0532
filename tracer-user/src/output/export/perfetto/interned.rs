//! Names are written once and then meant by a number. Bounded: when there are too many, all are forgotten
//! and written anew where they are used. May use: output::export::perfetto::proto.

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::proto::{InternedData, Name};

/// Most names kept: a few MB.
const MAX: usize = 1 << 15;
/// Longest text written as it is; a finding's reasons are shorter.
const MAX_TEXT: usize = 4096;

#[derive(Default)]
struct Table {
    ids: HashMap<Box<str>, u64, RandomState>,
    new: Vec<Name>,
}

impl Table {
    fn id(&mut self, text: &str) -> u64 {
        let text = text.get(..text.floor_char_boundary(MAX_TEXT)).unwrap_or(text);
        if let Some(&id) = self.ids.get(text) {
            return id;
        }
        let id = self.ids.len() as u64 + 1;
        self.ids.insert(text.into(), id);
        self.new.push(Name { iid: id, name: text.to_owned() });
        id
    }
}

/// The names in use.
#[derive(Default)]
pub struct Interned {
    events: Table,
    names: Table,
    texts: Table,
}

impl Interned {
    /// The number of the name of an event.
    pub fn event(&mut self, name: &str) -> u64 {
        self.events.id(name)
    }

    /// The number of the name of an annotation.
    pub fn name(&mut self, name: &str) -> u64 {
        self.names.id(name)
    }

    /// The number of the text of an annotation.
    pub fn text(&mut self, text: &str) -> u64 {
        self.texts.id(text)
    }

    /// Whether it is time to forget.
    pub fn is_full(&self) -> bool {
        self.events.ids.len() + self.texts.ids.len() > MAX
    }

    /// Those that were not written yet.
    pub fn take_new(&mut self) -> Option<InternedData> {
        let data = InternedData {
            event_names: std::mem::take(&mut self.events.new),
            debug_annotation_names: std::mem::take(&mut self.names.new),
            debug_annotation_string_values: std::mem::take(&mut self.texts.new),
        };
        (data != InternedData::default()).then_some(data)
    }
}
