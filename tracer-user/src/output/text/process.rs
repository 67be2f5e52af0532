//! The lines that say which process it is about. May use: view.

use std::io;

use super::page::{Line, Page, Tint, cut_path};
use crate::stream::{BuildInfo, PodInfo};
use crate::view::ProcessView;

/// What to call the tasks of a runtime.
pub fn noun(process: &ProcessView) -> &'static str {
    match process.runtime.as_str() {
        "go" => "goroutine",
        "native" => "thread",
        _ => "task",
    }
}

/// The last part of the executable's path.
pub fn name(exe: &str) -> &str {
    match exe.rsplit('/').next() {
        Some(name) if !name.is_empty() => name,
        _ => "?",
    }
}

/// `orders (pid 4242, go1.27.3)`.
pub fn short(process: &ProcessView) -> String {
    format!("{} (pid {}, {})", name(&process.exe), process.pid, version(process))
}

/// The runtime's version, or its name if that is not known.
pub fn version(process: &ProcessView) -> &str {
    if process.runtime_version.is_empty() { &process.runtime } else { &process.runtime_version }
}

/// The first characters of a container's id, as other tools print it.
fn container(id: &str) -> String {
    id.chars().take(12).collect()
}

/// Where it runs: `pod shop/orders-7c9f, container app (3f2a9c1d77e0)`; None outside of containers.
pub fn housing(id: Option<&str>, pod: Option<&PodInfo>) -> Option<String> {
    let id = id.map(container);
    let name = pod.and_then(|pod| pod.container.as_deref());
    let inner = match (name, id) {
        (Some(name), Some(id)) => Some(format!("container {name} ({id})")),
        (Some(name), None) => Some(format!("container {name}")),
        (None, Some(id)) => Some(format!("container {id}")),
        (None, None) => None,
    };
    let parts: Vec<String> = pod.and_then(pod_name).into_iter().chain(inner).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// `pod shop/orders-7c9f`, or by its UID where its name is not known.
fn pod_name(pod: &PodInfo) -> Option<String> {
    let name = match (&pod.namespace, &pod.name) {
        (Some(namespace), Some(name)) => format!("{namespace}/{name}"),
        (None, Some(name)) => name.to_string(),
        (_, None) => pod.uid.as_deref()?.to_owned(),
    };
    Some(format!("pod {name}"))
}

/// What a table has room for: `shop/orders-7c9f/app`, or the first characters of the container's id.
pub fn housed_in(id: Option<&str>, pod: Option<&PodInfo>) -> String {
    let named = pod.and_then(|pod| {
        let parts =
            [pod.namespace.as_deref(), Some(pod.name.as_deref()?), pod.container.as_deref()];
        Some(parts.into_iter().flatten().collect::<Vec<_>>().join("/"))
    });
    named.or_else(|| id.map(container)).unwrap_or_default()
}

/// `github.com/acme/orders v1.4.2, revision 3f2a9c1 (modified)`; None if the binary says nothing.
pub fn build(build: &BuildInfo) -> Option<String> {
    let setting = |key: &str| build.settings.iter().find(|(k, _)| &**k == key).map(|(_, v)| &**v);
    let mut out = build.path.as_deref().or(build.module.as_deref())?.to_owned();
    if let Some(version) = build.version.as_deref().filter(|v| !v.is_empty() && *v != "(devel)") {
        out = format!("{out} {version}");
    }
    if let Some(revision) = setting("vcs.revision") {
        let revision: String = revision.chars().take(12).collect();
        let modified = if setting("vcs.modified") == Some("true") { ", modified" } else { "" };
        out = format!("{out} (revision {revision}{modified})");
    }
    Some(out)
}

/// Writes the head of a page about one process.
///
/// # Errors
/// The writer's.
pub fn write_head(page: &mut Page, process: &ProcessView) -> io::Result<()> {
    let lead = format!("{}  pid {}  {}  ", name(&process.exe), process.pid, version(process));
    let room = page.room(lead.chars().count()).unwrap_or(usize::MAX);
    page.line(
        &Line::new().add(Tint::Strong, &lead).add(Tint::Faint, &cut_path(&process.exe, room)),
    )?;
    if let Some(build) = build(&process.build) {
        page.field_words("build", Tint::Plain, &build)?;
    }
    match (&process.pod, &process.container) {
        (None, Some(id)) => {
            page.field("container", Line::new().add(Tint::Plain, &container(id)))?;
        }
        (Some(pod), id) => {
            if let Some(where_it_runs) = housing(id.as_deref(), Some(pod)) {
                page.field_words("runs in", Tint::Plain, &where_it_runs)?;
            }
        }
        (None, None) => {}
    }
    for reason in &process.degraded {
        page.field_words("degraded", Tint::Warn, reason)?;
    }
    Ok(())
}
