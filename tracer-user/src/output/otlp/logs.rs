//! A finding as a log record.

use prost::Message as _;

use super::proto::{Any, AnyValue, LogRecord, Logs, Resource, ResourceLogs, ScopeLogs};
use super::{attribute, moment, scope, text, whole};
use crate::output::Change;
use crate::output::told::{Urgency, facts, sentence, urgency};
use crate::view::FindingView;

/// The body of a request with one record.
pub fn log(finding: &FindingView, change: Change) -> Vec<u8> {
    let (severity, word) = match urgency(finding, change) {
        Urgency::Error => (17, "ERROR"),
        Urgency::Warning => (13, "WARN"),
        Urgency::Notice => (10, "INFO2"),
        Urgency::Info => (9, "INFO"),
    };
    let facts = facts(finding, change);
    let mut attributes: Vec<_> =
        facts.iter().map(|(name, value)| text(&format!("loiter.{name}"), value.as_str())).collect();
    attributes.push(whole("loiter.tasks", finding.count));
    let at = moment(finding.as_of.0);
    let record = LogRecord {
        at,
        severity,
        severity_text: word.to_owned(),
        body: Some(AnyValue { value: Some(Any::Text(sentence(finding, change))) }),
        attributes,
        observed: at,
        event_name: "loiter.finding".to_owned(),
    };
    let whose = crate::output::told::process(&finding.process);
    let attributes = whose.iter().filter_map(|(label, value)| attribute(label, value)).collect();
    let scopes = vec![ScopeLogs { scope: Some(scope()), records: vec![record] }];
    let resource = Some(Resource { attributes });
    Logs { resources: vec![ResourceLogs { resource, scopes }] }.encode_to_vec()
}
