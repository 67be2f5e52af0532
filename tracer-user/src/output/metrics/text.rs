//! The families as OpenMetrics text. May use: prometheus-client.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit as TheirUnit};

use super::family::{Family, Gathered, Kind, Labels, Unit, Value, Whose};

/// Writes it.
///
/// # Errors
/// If it cannot be formatted; the text then is of no use.
pub fn write(gathered: Gathered) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("loiter");
    registry.register_collector(Box::new(Page(Arc::new(gathered))));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Page(Arc<Gathered>);

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for family in &self.0.families {
            let unit = match family.unit {
                Unit::None => None,
                Unit::Bytes => Some(TheirUnit::Bytes),
                Unit::Ratio => Some(TheirUnit::Other("ratio".to_owned())),
                Unit::Seconds => Some(TheirUnit::Seconds),
            };
            let kind = match family.kind {
                Kind::Gauge => MetricType::Gauge,
                Kind::Counter => MetricType::Counter,
                Kind::Histogram => MetricType::Histogram,
            };
            let metric =
                encoder.encode_descriptor(family.name, family.help, unit.as_ref(), kind)?;
            self.samples(family, metric)?;
        }
        Ok(())
    }
}

impl Page {
    fn samples(&self, family: &Family, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for (key, value) in &family.samples {
            let whose = key.process.and_then(|at| self.0.processes.get(at));
            let info = family.name == super::gather::INFO;
            let all: Labels = labels(whose, info).chain(&key.labels).cloned().collect();
            if all.is_empty() {
                number(&mut encoder, family.kind, value)?;
            } else {
                number(&mut encoder.encode_family(&all)?, family.kind, value)?;
            }
        }
        Ok(())
    }
}

fn number(encoder: &mut MetricEncoder<'_>, kind: Kind, value: &Value) -> fmt::Result {
    match (kind, value) {
        (Kind::Counter, Value::Count(n)) => encoder.encode_counter::<Labels, u64, u64>(n, None),
        (Kind::Counter, Value::Real(x)) => encoder.encode_counter::<Labels, f64, f64>(x, None),
        (_, Value::Count(n)) => encoder.encode_gauge(n),
        (_, Value::Real(x)) => encoder.encode_gauge(x),
        (_, Value::Lengths(of)) => {
            encoder.encode_histogram::<Labels>(of.sum, of.count, &of.classes, None)
        }
    }
}

/// The labels of a process; all of them for the family that is there to tell them.
fn labels(whose: Option<&Whose>, info: bool) -> impl Iterator<Item = &(&'static str, String)> {
    let more = whose.filter(|_| info).into_iter().flat_map(|whose| &whose.info);
    whose.into_iter().flat_map(|whose| &whose.labels).chain(more)
}
