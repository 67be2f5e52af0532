//! What became of what was sent elsewhere: nothing that is dropped is dropped silently.

/// Where something is sent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Receiver {
    /// Metrics to an OTLP collector.
    OtlpMetrics,
    /// Findings to an OTLP collector.
    OtlpLogs,
    /// Findings to a webhook.
    Webhook,
    /// Findings to the journal.
    Journal,
}

impl Receiver {
    /// The word used in JSON, metrics and text.
    pub const fn word(self) -> &'static str {
        match self {
            Receiver::OtlpMetrics => "otlp-metrics",
            Receiver::OtlpLogs => "otlp-logs",
            Receiver::Webhook => "webhook",
            Receiver::Journal => "journald",
        }
    }
}

/// What became of what was sent to one receiver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeliveryView {
    /// To whom.
    pub to: Receiver,
    /// Taken by the receiver.
    pub sent: u64,
    /// Refused by it, or given up after several attempts.
    pub failed: u64,
    /// Dropped because too many waited, or because loiter ended before.
    pub dropped: u64,
}
