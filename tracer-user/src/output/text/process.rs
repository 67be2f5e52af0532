//! The lines that say which process it is about. May use: view.

use std::io;

use super::page::{Line, Page, Tint, cut_path};
use crate::stream::BuildInfo;
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
pub fn container(id: &str) -> String {
    id.chars().take(12).collect()
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
    if let Some(id) = &process.container {
        page.field("container", Line::new().add(Tint::Plain, &container(id)))?;
    }
    for reason in &process.degraded {
        page.field_words("degraded", Tint::Warn, reason)?;
    }
    Ok(())
}
