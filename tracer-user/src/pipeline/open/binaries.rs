//! What was learned of binaries, so that many processes of one cost one function table and one plan.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::object::pclntab::Table;
use crate::runtime::go::GoProgram;
use crate::runtime::plan::ProbePlan;
use crate::target::FileId;

/// Binaries remembered at most: the one that was used longest ago goes first. Processes keep what they
/// use.
const MOST: usize = 32;

/// One file, read as one version of Go.
type Key = (FileId, u16);

struct Binary {
    key: Key,
    table: Option<Table>,
    plan: Option<Arc<ProbePlan>>,
}

/// See the module.
#[derive(Clone, Default)]
pub(super) struct Binaries(Arc<Mutex<VecDeque<Binary>>>);

fn key(program: &GoProgram) -> Key {
    (program.file.id(), program.layout.minor)
}

impl Binaries {
    fn known(&self) -> MutexGuard<'_, VecDeque<Binary>> {
        // Entries are put in and changed whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Uses the entry of a program, which is made if there is none.
    fn with<T>(&self, program: &GoProgram, use_it: impl FnOnce(&mut Binary) -> T) -> T {
        let key = key(program);
        let mut known = self.known();
        let at = known.iter().position(|binary| binary.key == key);
        let found = at.and_then(|at| known.remove(at));
        let mut binary = found.unwrap_or(Binary { key, table: None, plan: None });
        let result = use_it(&mut binary);
        known.push_front(binary);
        known.truncate(MOST);
        result
    }

    /// Its function table, with inline trees, placed anywhere.
    pub fn table(&self, program: &GoProgram) -> Option<Table> {
        self.with(program, |binary| binary.table.clone())
    }

    /// Remembers it.
    pub fn keep_table(&self, program: &GoProgram, table: &Table) {
        self.with(program, |binary| binary.table.get_or_insert_with(|| table.clone()).len());
    }

    /// Its probes; `make` is asked where they are not known.
    pub fn plan(
        &self,
        program: &GoProgram,
        make: impl FnOnce() -> anyhow::Result<ProbePlan>,
    ) -> anyhow::Result<Arc<ProbePlan>> {
        if let Some(plan) = self.with(program, |binary| binary.plan.clone()) {
            return Ok(plan);
        }
        let plan = Arc::new(make()?);
        self.with(program, |binary| binary.plan = Some(Arc::clone(&plan)));
        Ok(plan)
    }
}
