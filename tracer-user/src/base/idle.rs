//! What it looks like when a task waits by nature. The tables are a runtime's knowledge; those
//! who match them know no runtime. Plain data, so the words lie below both.

use std::borrow::Cow;

use super::WaitClass;

/// Where in what is known of a task a function is looked for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Place {
    /// The frame that says where it waits.
    WaitSite,
    /// The function it runs.
    Start,
    /// The function that created it.
    SpawnSite,
    /// Any frame of its stack.
    Stack,
}

/// A function at a place.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct FunctionAt {
    /// Where it is looked for.
    pub place: Place,
    /// Its name as the runtime's own dump writes it; with a `*` at the end, every name that
    /// begins so.
    pub function: Cow<'static, str>,
}

impl FunctionAt {
    /// An entry of a table.
    pub const fn new(place: Place, function: &'static str) -> Self {
        Self { place, function: Cow::Borrowed(function) }
    }

    /// Whether this name is meant.
    pub fn names(&self, function: &str) -> bool {
        match self.function.strip_suffix('*') {
            Some(prefix) => function.starts_with(prefix),
            None => function == self.function,
        }
    }
}

/// How many tasks of one shape are normal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Numbers {
    /// Any: others decide how many there are, such as clients.
    Any,
    /// A few: one for each pool, logger or connection that a program opens once. Many of them were
    /// opened again and again, and not closed.
    Few,
}

/// Whether a wait is normal of which nothing but connections can end, each to one other side.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Peers {
    /// It is: what waits is known to be an event loop by its name.
    Normal,
    /// It is not: who asked something and waits for the answer looks the same.
    Unclear,
}

/// A shape of tasks that wait by nature, with the name and the reason a person is told.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct IdlePattern {
    /// Short name, such as `accept loop`.
    pub name: Cow<'static, str>,
    /// Why it is normal.
    pub why: Cow<'static, str>,
    /// The wait classes it fits; empty = any, also a task in a system call.
    pub classes: Cow<'static, [WaitClass]>,
    /// All of these must be there; empty = the class says it all.
    pub functions: Vec<FunctionAt>,
    /// How many are normal.
    pub numbers: Numbers,
    /// Whether it may wait for other sides alone.
    pub peers: Peers,
}
