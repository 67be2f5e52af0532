//! OTLP, the protocol of OpenTelemetry: the metrics of [`super::metrics`] and findings as log records, each as the body of
//! one HTTP request. Names of attributes are those of OpenTelemetry's conventions, where there are some. May
//! use: view, output::metrics, prost.

mod answer;
mod logs;
mod metrics;
mod proto;

pub use answer::{Remark, remark};
pub use logs::log;
pub use metrics::metrics;

use proto::{Any, AnyValue, KeyValue, Scope};

/// What the bodies are, for their `Content-Type`.
pub const CONTENT_TYPE: &str = "application/x-protobuf";

fn text(key: &str, value: impl Into<String>) -> KeyValue {
    let value = AnyValue { value: Some(Any::Text(value.into())) };
    KeyValue { key: key.to_owned(), value: Some(value) }
}

fn whole(key: &str, value: u64) -> KeyValue {
    let value = Any::Whole(i64::try_from(value).unwrap_or(i64::MAX));
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
}

/// Who says so.
fn scope() -> Scope {
    Scope { name: "loiter".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() }
}

/// A moment; those before the epoch are not known.
fn moment(ns: i64) -> u64 {
    u64::try_from(ns).unwrap_or(0)
}

/// The convention's names for our labels of a process; None for those that say nothing here.
fn attribute(label: &str, value: &str) -> Option<KeyValue> {
    let name = match label {
        _ if value.is_empty() => return None,
        "pid" => return value.parse().ok().map(|pid| whole("process.pid", pid)),
        "process" => "service.name",
        "container" => "container.id",
        "pod" => "k8s.pod.name",
        "namespace" => "k8s.namespace.name",
        "container_name" => "k8s.container.name",
        "exe" => "process.executable.path",
        "runtime" => "process.runtime.name",
        "runtime_version" => "process.runtime.version",
        "version" => "service.version",
        "revision" => "vcs.ref.head.revision",
        other => other,
    };
    Some(text(name, value))
}
