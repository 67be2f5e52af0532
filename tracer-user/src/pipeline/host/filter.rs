//! Which processes of a host are meant: by what is known of each without opening it.

use crate::base::Pid;
use crate::pipeline::whereabouts;
use crate::stream::PodInfo;
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
    /// Name of its pod.
    pub pod: Vec<Glob>,
    /// Kubernetes namespace of its pod.
    pub namespace: Vec<Glob>,
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
    /// Id of its container, as far as it is known.
    pub container: Option<Box<str>>,
    /// Its pod, if it is in one.
    pub pod: Option<PodInfo>,
}

/// What a filter says of a process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Verdict {
    /// It is not meant.
    Left,
    /// It is in a pod, and the names that are asked for are not known: the kubelet may not have written
    /// them yet.
    Unsure,
    /// It is meant.
    Taken,
}

impl From<bool> for Verdict {
    fn from(meant: bool) -> Self {
        if meant { Self::Taken } else { Self::Left }
    }
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
        if ![&filter.container, &filter.pod, &filter.namespace].iter().all(|list| list.is_empty()) {
            (about.container, about.pod) = whereabouts::named(pid);
        }
        Some(about)
    }
}

impl Filter {
    /// What it says of a process.
    pub fn verdict(&self, about: &About) -> Verdict {
        let fits = |globs: &[Glob], text: &str| globs.iter().any(|glob| glob.fits(text));
        let named = |globs: &[Glob]| about.names.iter().any(|name| fits(globs, name));
        let cgroup = about.cgroups.iter().any(|path| fits(&self.cgroup, path));
        let begins = |id: &str| self.container.iter().any(|glob| id.starts_with(glob.text()));
        let id = about.container.as_deref();
        let contained = id.is_some_and(|id| fits(&self.container, id) || begins(id));
        let in_pod = |globs: &[Glob], name: fn(&PodInfo) -> Option<&str>| match &about.pod {
            Some(pod) => name(pod).map_or(Verdict::Unsure, |name| fits(globs, name).into()),
            None => Verdict::Left,
        };
        let lists = [
            (&self.name, named(&self.name).into()),
            (&self.cgroup, cgroup.into()),
            (
                &self.container,
                in_pod(&self.container, |pod| pod.container.as_deref()).max(contained.into()),
            ),
            (&self.pod, in_pod(&self.pod, |pod| pod.name.as_deref())),
            (&self.namespace, in_pod(&self.namespace, |pod| pod.namespace.as_deref())),
        ];
        let asked = lists.into_iter().filter(|(globs, _)| !globs.is_empty());
        let verdict = asked.map(|(_, verdict)| verdict).min().unwrap_or(Verdict::Taken);
        if named(&self.exclude) { Verdict::Left } else { verdict }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn globs(texts: &[&str]) -> Vec<Glob> {
        texts.iter().map(|text| Glob::new(text).unwrap()).collect()
    }

    fn about() -> About {
        About {
            names: vec!["orders".into(), "orders-v2".into()],
            cgroups: vec!["/system.slice/orders.service".into()],
            container: Some("3f1c0de5a9b8".into()),
            pod: Some(PodInfo {
                uid: Some("0f1e".into()),
                name: Some("orders-7c9f".into()),
                namespace: Some("shop".into()),
                container: Some("app".into()),
            }),
        }
    }

    #[test]
    fn a_process_must_pass_every_list_and_be_on_none_of_the_excluded() {
        let all = Filter::default();
        let taken = |filter: Filter| filter.verdict(&about()) == Verdict::Taken;
        assert!(taken(all.clone()));
        assert!(taken(Filter { name: globs(&["cart", "order?"]), ..all.clone() }));
        assert!(!taken(Filter { name: globs(&["cart*"]), ..all.clone() }));
        assert!(taken(Filter { cgroup: globs(&["/system.slice/*"]), ..all.clone() }));
        assert!(!taken(Filter { cgroup: globs(&["/user.slice/*"]), ..all.clone() }));
        assert!(taken(Filter { container: globs(&["3f1c"]), ..all.clone() }));
        assert!(taken(Filter { container: globs(&["ap?"]), ..all.clone() }));
        assert!(!taken(Filter { container: globs(&["f1c0"]), ..all.clone() }));
        assert!(taken(Filter { pod: globs(&["orders-*"]), ..all.clone() }));
        assert!(!taken(Filter { pod: globs(&["orders"]), ..all.clone() }));
        assert!(taken(Filter { namespace: globs(&["cart", "sh?p"]), ..all.clone() }));
        assert!(!taken(Filter { namespace: globs(&["kube-*"]), ..all.clone() }));
        let (pod, namespace) = (globs(&["orders-*"]), globs(&["kube-*"]));
        assert!(!taken(Filter { pod, namespace, ..all.clone() }), "all lists must fit");
        assert!(!taken(Filter { exclude: globs(&["*-v2"]), ..all }));
    }

    #[test]
    fn names_that_a_pod_does_not_have_yet_leave_open_whether_it_is_meant() {
        let nameless = PodInfo { uid: Some("0f1e".into()), ..PodInfo::default() };
        let about = About { pod: Some(nameless), ..about() };
        let filter = Filter { namespace: globs(&["shop"]), ..Filter::default() };
        assert_eq!(filter.verdict(&about), Verdict::Unsure);
        let other = Filter { name: globs(&["cart"]), ..filter.clone() };
        assert_eq!(other.verdict(&about), Verdict::Left, "whatever its pod is called");
        let container = Filter { container: globs(&["app"]), ..Filter::default() };
        assert_eq!(container.verdict(&about), Verdict::Unsure);
        let id = Filter { container: globs(&["3f1c"]), ..Filter::default() };
        assert_eq!(id.verdict(&about), Verdict::Taken, "its id is known");
        assert_eq!(filter.verdict(&About { pod: None, ..about }), Verdict::Left, "in no pod");
    }

    #[test]
    fn this_process_is_known_by_its_names() {
        let name = globs(&["*"]);
        let about = About::read(Pid(std::process::id()), &Filter { name, ..Filter::default() });
        assert!(about.unwrap().names.len() == 2);
    }
}
