//! What usual mistakes look like, and what mends them. As with [`super::IdlePattern`] the tables
//! are a runtime's knowledge, and those who match them know no runtime.

use std::borrow::Cow;

use super::{FunctionAt, WaitClass};

/// What an object that is waited on has to look like.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Shape {
    /// Like anything, also if it is not known.
    Any,
    /// A channel without a buffer.
    Unbuffered,
    /// A channel whose buffer is full.
    Full,
    /// No channel at all: nil.
    Nil,
    /// A channel that carries values.
    Values,
    /// A channel that carries nothing but its own end: a context's, or one named `done`, `stop`, `quit`.
    Signal,
    /// Channels of which at least one is a [`Shape::Signal`].
    SomeSignal,
    /// Several channels, or one, and each carries values.
    AllValues,
    /// Channels of which at least one is fed by a timer that fires again and again (or may do so), and
    /// none is a [`Shape::Signal`].
    Ticker,
    /// Channels of which at least one is fed by a timer that fires once, and none is a [`Shape::Signal`].
    Timeout,
    /// A lock that one task holds.
    Mutex,
    /// A lock that many may hold to read.
    RwLock,
    /// A group of tasks that is waited for.
    WaitGroup,
    /// A condition variable.
    Cond,
}

/// A usual mistake, with what usually mends it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Pattern {
    /// Stable id in kebab case, such as `send-full-buffer`.
    pub name: Cow<'static, str>,
    /// What usually mends it, in one or two sentences.
    pub advice: Cow<'static, str>,
    /// The wait classes it fits; empty = any.
    pub classes: Cow<'static, [WaitClass]>,
    /// What each object waited on, as far as it is told, looks like.
    pub object: Shape,
    /// All of these must be there; the first one found is the frame the match is named by. Empty = the frame where the tasks wait.
    pub functions: Vec<FunctionAt>,
}
