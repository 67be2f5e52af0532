//! Two moments compared: by spawn site and wait site what came, went and grew.

use std::collections::BTreeMap;

use crate::base::{Frame, TaskState};

use super::{DumpView, WallTime};

/// A place in the source.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Site {
    /// The function.
    pub function: String,
    /// Its file; empty where not known.
    pub file: String,
    /// The line; 0 where not known.
    pub line: u32,
}

impl Site {
    fn of(frame: &Frame) -> Self {
        Self {
            function: frame.function.to_string(),
            file: frame.file.to_string(),
            line: frame.line,
        }
    }

    fn without_line(self) -> Self {
        Self { file: String::new(), line: 0, ..self }
    }
}

/// Where tasks come from and what they do.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Place {
    /// Where they were created.
    pub spawn_site: Option<Site>,
    /// Where they wait.
    pub wait_site: Option<Site>,
    /// The runtime's word for the wait, or the state.
    pub doing: String,
}

/// How many tasks there were at each place at a moment.
#[derive(Clone, PartialEq, Debug)]
pub struct Population {
    /// What was counted, in words: a file, a moment of it.
    pub of: String,
    /// The executable.
    pub exe: String,
    /// The build, where the binary tells it.
    pub build_id: Option<String>,
    /// When.
    pub at: Option<WallTime>,
    /// Tasks of the program, the runtime's own left out.
    pub tasks: BTreeMap<Place, u64>,
}

impl Population {
    /// Counts the tasks of a dump.
    pub fn of_dump(dump: &DumpView, of: String) -> Self {
        let mut tasks = BTreeMap::new();
        for task in dump.tasks.iter().filter(|t| !t.system) {
            let waits = task.state == TaskState::Waiting && !task.wait_reason.is_empty();
            let place = Place {
                spawn_site: task.created_by.as_deref().map(Site::of),
                wait_site: task.wait_site.as_deref().map(Site::of),
                doing: if waits { &*task.wait_reason } else { task.state.word() }.to_owned(),
            };
            *tasks.entry(place).or_default() += 1;
        }
        Self {
            of,
            exe: dump.process.exe.clone(),
            build_id: dump.process.build.build_id.as_deref().map(str::to_owned),
            at: Some(dump.taken_at),
            tasks,
        }
    }

    /// All of them.
    pub fn count(&self) -> u64 {
        self.tasks.values().sum()
    }

    fn without_lines(&self) -> BTreeMap<Place, u64> {
        let mut all = BTreeMap::new();
        for (place, n) in &self.tasks {
            let Place { spawn_site, wait_site, doing } = place.clone();
            let place = Place {
                spawn_site: spawn_site.map(Site::without_line),
                wait_site: wait_site.map(Site::without_line),
                doing,
            };
            *all.entry(place).or_default() += n;
        }
        all
    }
}

/// A place, then and now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Which.
    pub place: Place,
    /// Tasks there in the first.
    pub before: u64,
    /// Tasks there in the second.
    pub after: u64,
}

/// Whether lines tell places apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lines {
    /// They do: one build.
    Compared,
    /// Two builds: the same line is another place in each.
    Ignored,
}

/// See the module.
#[derive(Clone, PartialEq, Debug)]
pub struct DiffView {
    /// The first.
    pub before: Population,
    /// The second.
    pub after: Population,
    /// Whether lines were compared.
    pub lines: Lines,
    /// Places whose count is not the same, the largest change first.
    pub changes: Vec<Change>,
    /// Places whose count is the same.
    pub unchanged: u64,
}

impl DiffView {
    /// Compares.
    pub fn new(before: Population, after: Population) -> Self {
        let one_build = before.build_id == after.build_id;
        let lines = if one_build { Lines::Compared } else { Lines::Ignored };
        let (was, is) = match lines {
            Lines::Compared => (before.tasks.clone(), after.tasks.clone()),
            Lines::Ignored => (before.without_lines(), after.without_lines()),
        };
        let mut all: BTreeMap<Place, (u64, u64)> = BTreeMap::new();
        for (place, n) in was {
            all.entry(place).or_default().0 = n;
        }
        for (place, n) in is {
            all.entry(place).or_default().1 = n;
        }
        let places = all.len() as u64;
        let mut changes: Vec<Change> = all
            .into_iter()
            .filter(|(_, (before, after))| before != after)
            .map(|(place, (before, after))| Change { place, before, after })
            .collect();
        changes.sort_by_key(|c| std::cmp::Reverse((c.after.abs_diff(c.before), c.after)));
        let unchanged = places - changes.len() as u64;
        Self { before, after, lines, changes, unchanged }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn population(build: &str, tasks: &[(&str, u32, u64)]) -> Population {
        let place = |function: &str, line| Place {
            spawn_site: Some(Site { function: function.to_owned(), file: "a.go".to_owned(), line }),
            wait_site: None,
            doing: "chan send".to_owned(),
        };
        Population {
            of: "a test".to_owned(),
            exe: "/a".to_owned(),
            build_id: Some(build.to_owned()),
            at: None,
            tasks: tasks.iter().map(|&(f, line, n)| (place(f, line), n)).collect(),
        }
    }

    fn counts(diff: &DiffView) -> Vec<(u64, u64)> {
        diff.changes.iter().map(|c| (c.before, c.after)).collect()
    }

    #[test]
    fn what_came_went_and_grew_is_told_largest_change_first() {
        let before = population("x", &[("grew", 1, 10), ("went", 2, 3), ("same", 3, 7)]);
        let after = population("x", &[("grew", 1, 500), ("came", 9, 4), ("same", 3, 7)]);
        let diff = DiffView::new(before, after);
        assert_eq!(counts(&diff), [(10, 500), (0, 4), (3, 0)]);
        assert_eq!((diff.unchanged, diff.lines), (1, Lines::Compared));
    }

    #[test]
    fn between_two_builds_lines_tell_nothing() {
        let before = population("x", &[("f", 1, 10), ("f", 2, 5)]);
        let after = population("y", &[("f", 7, 20)]);
        let diff = DiffView::new(before, after);
        assert_eq!((counts(&diff), diff.lines), (vec![(15, 20)], Lines::Ignored));
    }
}
