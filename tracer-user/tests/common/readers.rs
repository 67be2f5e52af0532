//! The tools that read what loiter writes in the tests. Standard library only: `cargo xtask` compiles this file as well.

use std::path::{Path, PathBuf};

use super::go::target_dir;

/// The Python package that has Perfetto's schema.
pub const PERFETTO: &str = "0.59.1";
/// The Python package that has OpenTelemetry's schema.
pub const OPENTELEMETRY: &str = "1.45.2";
/// The Python package that has the schemas of Kubernetes.
pub const KUBERNETES_VALIDATE: &str = "1.37.0";
/// The browser.
pub const BROWSER: &str = "chromium";

/// Where Perfetto's schema lies.
pub fn perfetto_dir() -> PathBuf {
    target_dir().join(format!("tools/perfetto-{PERFETTO}"))
}

/// Perfetto's schema for Python, as a directory for `PYTHONPATH`.
///
/// # Errors
/// If it is not installed; says how to get it.
pub fn perfetto_schema() -> Result<PathBuf, String> {
    let dir = perfetto_dir();
    let there = dir.join("perfetto/protos/perfetto/trace/perfetto_trace_pb2.py").is_file();
    if there { Ok(dir) } else { Err(missing("Perfetto's schema")) }
}

/// Where OpenTelemetry's schema lies.
pub fn opentelemetry_dir() -> PathBuf {
    target_dir().join(format!("tools/opentelemetry-{OPENTELEMETRY}"))
}

/// OpenTelemetry's schema for Python, as a directory for `PYTHONPATH`.
///
/// # Errors
/// If it is not installed; says how to get it.
pub fn opentelemetry_schema() -> Result<PathBuf, String> {
    let dir = opentelemetry_dir();
    let there = dir.join("opentelemetry/proto/logs/v1/logs_pb2.py").is_file();
    if there { Ok(dir) } else { Err(missing("OpenTelemetry's schema")) }
}

/// Where the schemas of Kubernetes lie.
pub fn kubernetes_dir() -> PathBuf {
    target_dir().join(format!("tools/kubernetes-validate-{KUBERNETES_VALIDATE}"))
}

/// What checks manifests against the schemas of Kubernetes, as a directory for `PYTHONPATH`.
///
/// # Errors
/// If it is not installed; says how to get it.
pub fn kubernetes_schemas() -> Result<PathBuf, String> {
    let dir = kubernetes_dir();
    let there = dir.join("kubernetes_validate/__init__.py").is_file();
    if there { Ok(dir) } else { Err(missing("kubernetes-validate")) }
}

/// A browser.
///
/// # Errors
/// If there is none; says how to get it.
pub fn browser() -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).map(|dir| dir.join(BROWSER)).find(|p| Path::is_file(p));
    found.ok_or_else(|| missing(BROWSER))
}

fn missing(what: &str) -> String {
    format!("{what} is not here: `cargo xtask setup` fetches it")
}
