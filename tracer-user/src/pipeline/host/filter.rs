//! Which processes of a host are meant: by what is known of each without opening it.

use crate::base::Pid;
use crate::pipeline::whereabouts;
use crate::target::{cgroups_of, exe_link, stat};

/// A pattern in which `*` stands for any text, `?` for any character.
#[derive(Clone, Debug)]
pub struct Glob {
    text: String,
    pattern: wildmatch::WildMatch,
}

impl PartialEq for Glob {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Glob {}

/// Longest pattern.
const MAX_PATTERN: usize = 1024;

impl Glob {
    /// From its text; None if it is empty or longer than a path would be.
    pub fn new(text: &str) -> Option<Self> {
        let fits = !text.is_empty() && text.len() <= MAX_PATTERN;
        fits.then(|| Self { text: text.to_owned(), pattern: wildmatch::WildMatch::new(text) })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether all of `text` fits.
    pub fn fits(&self, text: &str) -> bool {
        self.pattern.matches(text)
    }
}

/// What processes must be like. A list without entries asks for nothing; of one with several, one
/// must fit; all lists must.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Filter {
    /// Name of the process or of its executable.
    pub name: Vec<Glob>,
    /// Path of a cgroup.
    pub cgroup: Vec<Glob>,
    /// Id of its container or the beginning of one, or the name its pod gives it.
    pub container: Vec<Glob>,
    /// Names of those that are not meant all the same.
    pub exclude: Vec<Glob>,
}

/// What is known of a process from outside: the place where more of that would be added.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct About {
    /// Its name and that of its executable.
    pub names: Vec<Box<str>>,
    /// Its cgroups.
    pub cgroups: Vec<Box<str>>,
    /// Id and name of its container, as far as they are known.
    pub container: Option<Box<str>>,
    pub container_name: Option<Box<str>>,
}

impl About {
    /// Reads what `filter` asks for. None if the process is gone, or is one of the kernel's.
    pub fn read(pid: Pid, filter: &Filter) -> Option<Self> {
        let stat = stat(pid).ok().filter(|stat| !stat.kernel_thread && !stat.has_exited())?;
        let mut about = Self { names: vec![stat.comm], ..Self::default() };
        if !filter.name.is_empty() || !filter.exclude.is_empty() {
            let exe = exe_link(pid).ok();
            let name = exe.as_ref().and_then(|exe| exe.path.file_name());
            about.names.extend(name.map(|name| name.to_string_lossy().into()));
        }
        if !filter.cgroup.is_empty() {
            about.cgroups = cgroups_of(pid).unwrap_or_default();
        }
        if !filter.container.is_empty() {
            let (container, pod) = whereabouts::named(pid);
            about.container = container;
            about.container_name = pod.and_then(|pod| pod.container);
        }
        Some(about)
    }
}

impl Filter {
    /// Whether a process is meant.
    pub fn takes(&self, about: &About) -> bool {
        let names = |globs: &[Glob]| {
            globs.iter().any(|glob| about.names.iter().any(|name| glob.fits(name)))
        };
        let cgroup = |glob: &Glob| about.cgroups.iter().any(|path| glob.fits(path));
        let container = |glob: &Glob| {
            let id = about.container.as_deref();
            id.is_some_and(|id| glob.fits(id) || id.starts_with(glob.text()))
                || about.container_name.as_deref().is_some_and(|name| glob.fits(name))
        };
        (self.name.is_empty() || names(&self.name))
            && (self.cgroup.is_empty() || self.cgroup.iter().any(cgroup))
            && (self.container.is_empty() || self.container.iter().any(container))
            && !names(&self.exclude)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn globs(texts: &[&str]) -> Vec<Glob> {
        texts.iter().map(|text| Glob::new(text).unwrap()).collect()
    }

    #[test]
    fn a_process_must_pass_every_list_and_be_on_none_of_the_excluded() {
        let about = About {
            names: vec!["orders".into(), "orders-v2".into()],
            cgroups: vec!["/system.slice/orders.service".into()],
            container: Some("3f1c0de5a9b8".into()),
            container_name: Some("app".into()),
        };
        let all = Filter::default();
        assert!(all.takes(&about));
        assert!(Filter { name: globs(&["cart", "order?"]), ..all.clone() }.takes(&about));
        assert!(!Filter { name: globs(&["cart*"]), ..all.clone() }.takes(&about));
        assert!(Filter { cgroup: globs(&["/system.slice/*"]), ..all.clone() }.takes(&about));
        assert!(!Filter { cgroup: globs(&["/user.slice/*"]), ..all.clone() }.takes(&about));
        assert!(Filter { container: globs(&["3f1c"]), ..all.clone() }.takes(&about));
        assert!(Filter { container: globs(&["ap?"]), ..all.clone() }.takes(&about));
        assert!(!Filter { container: globs(&["f1c0"]), ..all.clone() }.takes(&about));
        assert!(!Filter { exclude: globs(&["*-v2"]), ..all }.takes(&about));
    }

    #[test]
    fn this_process_is_known_by_its_names() {
        let name = globs(&["*"]);
        let about = About::read(Pid(std::process::id()), &Filter { name, ..Filter::default() });
        assert!(about.unwrap().names.len() == 2);
    }
}
