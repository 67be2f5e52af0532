//! What of a recording the model may be told: nothing that would mislead it where other inputs are
//! missing, and no more than can be kept.

use std::collections::BTreeMap;

use crate::base::{KTime, ProcId};
use crate::stream::{
    ChannelState, FileState, FutexState, Input, MAX_HOLDERS, Mode, TaskLook, WaitsOn,
};

/// Leaves out what would tell the model something wrong when other inputs are missing.
#[derive(Default)]
pub struct Filter {
    /// Processes told, with their probes.
    told: BTreeMap<ProcId, Option<Mode>>,
    /// Whether the beginning of the look under way was told, and nothing was lost since.
    look: Look,
    allowance: Allowance,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum Look {
    /// None under way, or one that is not whole.
    #[default]
    NotWhole,
    /// All of it so far was told.
    Whole,
}

impl Filter {
    /// What was left out because there is too much of it.
    pub const fn left_out(&self) -> u64 {
        self.allowance.left_out
    }

    /// A look of which a part is missing would make the model bury who is in that part.
    pub fn lost(&mut self) {
        self.look = Look::NotWhole;
    }

    /// Inputs that come for the first time.
    pub fn first_time(&mut self, inputs: &mut Vec<Input>) {
        inputs.retain_mut(|input| match input {
            Input::SnapshotBegin { .. } => {
                self.look = Look::Whole;
                self.allowance.begin_look();
                true
            }
            Input::SnapshotTask(task) => {
                self.allowance.allow_task(task);
                self.look == Look::Whole
            }
            Input::SnapshotEnd { .. } => std::mem::take(&mut self.look) == Look::Whole,
            other => {
                self.note(other);
                self.allowance.allows(other)
            }
        });
    }

    /// Of what a segment that begins at this moment tells again, what was not told: a process told
    /// again would begin anew. What was before is not known to who begins here: to him, a process is
    /// watched from here on.
    pub fn again(&mut self, inputs: &mut Vec<Input>, begins: KTime) {
        inputs.retain_mut(|input| {
            let new = match input {
                Input::ProcessDef(def) if self.told.contains_key(&def.process) => return false,
                Input::ProcessDef(def) => {
                    def.at = def.at.max(begins);
                    true
                }
                Input::ModeChange { process, mode, at, .. } => {
                    *at = (*at).max(begins);
                    self.told.get(process) != Some(&Some(*mode))
                }
                _ => true,
            };
            self.note(input);
            new && self.allowance.allows(input)
        });
    }

    fn note(&mut self, input: &Input) {
        match input {
            Input::ProcessDef(def) => {
                self.told.insert(def.process, None);
            }
            Input::ModeChange { process, mode, .. } => {
                self.told.insert(*process, Some(*mode));
            }
            Input::ProcessEnd { process, .. } => {
                self.told.remove(process);
            }
            _ => {}
        }
    }
}

/// A recording that lies could hold words without end in a small file, and whoever keeps them
/// would run out of memory. Beyond a bound they are left out: what they name is not known then.
#[derive(Default)]
struct Allowance {
    /// Bytes of definitions let through.
    definitions: u64,
    /// Bytes of labels and objects let through in the present look.
    look: u64,
    left_out: u64,
}

impl Allowance {
    /// What the one who gives out ids keeps at most, and half of that again for stacks.
    const DEFINITIONS: u64 = 768 << 20;
    /// 250 bytes for each of the million tasks that are followed.
    const LOOK: u64 = 256 << 20;

    fn begin_look(&mut self) {
        self.look = 0;
    }

    fn allows(&mut self, input: &Input) -> bool {
        let len = |words: &[&str]| words.iter().map(|w| w.len() as u64).sum::<u64>();
        let bytes = match input {
            Input::NameDef { frame, .. } => len(&[&frame.function, &frame.file]),
            Input::StackDef { frames, .. } => 4 * frames.len() as u64,
            Input::ReasonDef { word, .. } => len(&[word]),
            Input::ProcessDef(def) => {
                let pairs = def.build.settings.iter().map(|(k, v)| len(&[k, v]));
                let degraded = def.degraded.iter().map(|d| len(&[d]));
                len(&[&def.exe, &def.runtime, &def.runtime_version])
                    + pairs.chain(degraded).sum::<u64>()
            }
            _ => return true,
        };
        self.definitions = self.definitions.saturating_add(bytes);
        let allowed = self.definitions <= Self::DEFINITIONS;
        self.left_out += u64::from(!allowed);
        allowed
    }

    fn allow_task(&mut self, task: &mut TaskLook) {
        let labels: usize = task.labels.iter().map(|(k, v)| k.len() + v.len() + 32).sum();
        let objects = match &task.waits_on {
            WaitsOn::Channels(channels) => channels.len() * size_of::<ChannelState>(),
            WaitsOn::Unknown | WaitsOn::Lock { .. } | WaitsOn::Timer { .. } => 0,
            WaitsOn::Futex(_) => size_of::<FutexState>() + MAX_HOLDERS * size_of::<u32>(),
            WaitsOn::Files(set) => {
                set.files.iter().map(|f| size_of::<FileState>() + f.name.len()).sum()
            }
        };
        self.look = self.look.saturating_add((labels + objects) as u64);
        if self.look > Self::LOOK {
            task.labels = Box::default();
            task.waits_on = WaitsOn::Unknown;
            self.left_out += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_of_which_a_part_is_missing_is_left_out() {
        use crate::stream::{LookOutcome, LookSeq};
        let (process, look, at) = (ProcId(1), LookSeq(1), KTime(1));
        let begin = Input::SnapshotBegin { process, look, t0: at };
        let outcome = LookOutcome::default();
        let end = Input::SnapshotEnd { process, look, t1: at, outcome };
        let mut filter = Filter::default();
        let mut pass = |inputs: &[&Input]| {
            let mut inputs: Vec<Input> = inputs.iter().copied().cloned().collect();
            filter.first_time(&mut inputs);
            inputs.len()
        };
        assert_eq!(pass(&[&begin, &end, &begin]), 3);
        filter.lost();
        let mut rest = vec![end.clone(), begin, end];
        filter.first_time(&mut rest);
        assert_eq!(rest.len(), 2);
    }
}
