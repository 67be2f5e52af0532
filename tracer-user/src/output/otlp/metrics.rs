//! All families as one request: a resource for each process, and one for loiter itself.

use prost::Message as _;

use super::proto::{
    CUMULATIVE, Data, Gauge, Histogram, HistogramPoint, KeyValue, Metric, Metrics, Number,
    NumberPoint, Resource, ResourceMetrics, ScopeMetrics, Sum,
};
use super::{attribute, moment, scope, text};
use crate::output::metrics::family::{Family, Gathered, Key, Kind, Unit, Value, Whose};
use crate::output::metrics::gather;
use crate::view::WallTime;
use crate::view::delivery::DeliveryView;
use crate::view::metrics::MetricsView;

/// The body of a request with the numbers of this moment.
pub fn metrics(views: &[MetricsView], deliveries: &[DeliveryView], at: WallTime) -> Vec<u8> {
    let gathered = gather(views, deliveries);
    let own = [text("service.name", "loiter"), text("service.version", env!("CARGO_PKG_VERSION"))];
    let mut resources = vec![resource(own.into(), &gathered, None, (0, moment(at.0)))];
    for (number, whose) in gathered.processes.iter().enumerate() {
        let span = (moment(whose.since), moment(at.0));
        resources.push(resource(attributes(whose), &gathered, Some(number), span));
    }
    Metrics { resources }.encode_to_vec()
}

fn attributes(whose: &Whose) -> Vec<KeyValue> {
    let all = whose.labels.iter().chain(&whose.info);
    all.filter_map(|(label, value)| attribute(label, value)).collect()
}

fn resource(
    attributes: Vec<KeyValue>,
    gathered: &Gathered,
    process: Option<usize>,
    span: (u64, u64),
) -> ResourceMetrics {
    let metrics = gathered.families.iter().filter_map(|family| {
        let samples = family.samples.iter().filter(|(key, _)| key.process == process);
        let samples: Vec<_> = samples.collect();
        (!samples.is_empty()).then(|| metric(family, &samples, span))
    });
    let metrics = metrics.collect();
    ResourceMetrics {
        resource: Some(Resource { attributes }),
        scopes: vec![ScopeMetrics { scope: Some(scope()), metrics }],
    }
}

fn metric(family: &Family, samples: &[(&Key, &Value)], span: (u64, u64)) -> Metric {
    let points = || samples.iter().filter_map(|(key, value)| point(key, value, span)).collect();
    let data = match family.kind {
        Kind::Gauge => Data::Gauge(Gauge { points: points() }),
        Kind::Counter => {
            Data::Sum(Sum { points: points(), temporality: CUMULATIVE, monotonic: true })
        }
        Kind::Histogram => {
            let points = samples.iter().filter_map(|(key, value)| lengths(key, value, span));
            Data::Histogram(Histogram { points: points.collect(), temporality: CUMULATIVE })
        }
    };
    let unit = if family.unit == Unit::None { "1" } else { family.unit.ucum() };
    Metric {
        name: format!("loiter_{}{}", family.name, family.unit.suffix()),
        description: family.help.to_owned(),
        unit: unit.to_owned(),
        data: Some(data),
    }
}

fn own(key: &Key) -> Vec<KeyValue> {
    key.labels.iter().map(|(name, value)| text(name, value.as_str())).collect()
}

fn point(key: &Key, value: &Value, (since, at): (u64, u64)) -> Option<NumberPoint> {
    let value = match value {
        Value::Count(n) => Number::Whole(i64::try_from(*n).unwrap_or(i64::MAX)),
        Value::Real(x) => Number::Real(*x),
        Value::Lengths(_) => return None,
    };
    Some(NumberPoint { since, at, value: Some(value), attributes: own(key) })
}

fn lengths(key: &Key, value: &Value, (since, at): (u64, u64)) -> Option<HistogramPoint> {
    let Value::Lengths(of) = value else { return None };
    // The last class has no end: there is one bound less than classes.
    let bounds = of.classes.iter().map(|(end, _)| *end).filter(|end| *end < f64::MAX);
    Some(HistogramPoint {
        since,
        at,
        count: of.count,
        sum: Some(of.sum),
        counts: of.classes.iter().map(|(_, n)| *n).collect(),
        bounds: bounds.collect(),
        attributes: own(key),
    })
}
