//! A recording as one page of HTML that needs nothing else: no network, no other file, no fonts of its own.
//!
//! What matters is in the page as text, also where scripts do not run. The charts are drawn by one script
//! from one block of JSON. Everything the target named is escaped, and a content security policy lets nothing run
//! but that script, known by its hash. The page is bounded: of a large recording it shows the sites and tasks that
//! matter most, and says what it leaves out.
//!
//! A recording is read twice: the [`Survey`] finds out what matters, [`Detail`] then keeps it.
//! May use: view, base, stream, output's helpers.

mod data;
mod detail;
pub(super) mod escape;
mod findings;
mod flame;
mod page;
mod survey;
mod thin;

pub use detail::Detail;
pub use page::{Report, write_html};
pub use survey::Survey;

use crate::base::{FrameId, ProcId, TaskState};
use crate::view::timeline::Origin;

/// Most spawn sites with a row in the timeline.
const MAX_SITES: usize = 40;
/// Most tasks of a site with a row, those named by findings apart.
const MAX_TASKS: usize = 16;
/// Most tasks of a site that are shown because findings name them.
const MAX_NAMED: usize = 8;

/// What has a row in the timeline.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Place {
    /// Tasks created at one place.
    Site(ProcId, FrameId),
    /// Tasks of the runtime.
    Runtime(ProcId),
}

impl Place {
    const fn of(process: ProcId, origin: Origin) -> Self {
        if origin.system {
            Place::Runtime(process)
        } else {
            Place::Site(process, origin.spawn_site)
        }
    }
}

/// How many sorts of states are told apart by colour.
const SHADES: usize = 5;

/// The colour of a state: the index of its name in the script.
const fn shade(state: TaskState) -> usize {
    match state {
        TaskState::Running => 0,
        TaskState::Runnable | TaskState::Preempted => 1,
        TaskState::Waiting => 2,
        TaskState::Syscall => 3,
        TaskState::Unknown => 4,
    }
}
