//! What `watch` tells others, on the command line: metrics for whoever asks, and metrics and findings sent elsewhere.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{exit, values};
use crate::base::Nanos;
use crate::output::{Change, journal, json, metrics, otlp};
use crate::pipeline::{
    Endpoint, HttpReceiver, ListenSettings, MetricsSettings, Outbox, PushSettings, SendSettings,
    TlsFiles, Told,
};
use crate::view::delivery::{DeliveryView, Receiver};
use crate::view::watch::{Notice, WatchSink, Who};
use crate::view::{FindingView, SummaryView};

/// Where metrics are told unless said otherwise: the port that OpenTelemetry's exporters use.
const DEFAULT_METRICS: &str = "127.0.0.1:9464";
/// Where the journal listens.
const JOURNAL: &str = "/run/systemd/journal/socket";

/// Tell metrics and findings to others.
#[derive(Args, Debug)]
#[command(next_help_heading = "Metrics, and findings elsewhere")]
pub struct TelemetryArgs {
    /// Tell metrics (OpenMetrics) at http://ADDRESS/metrics, with /healthz and /readyz; without an
    /// address at 127.0.0.1:9464
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = DEFAULT_METRICS)]
    metrics: Option<SocketAddr>,

    /// Tell metrics only to those with the bearer token in FILE; read anew when it changes
    #[arg(long, value_name = "FILE", requires = "metrics")]
    metrics_token_file: Option<PathBuf>,

    /// Tell metrics over TLS with the certificate (chain) in FILE; read anew when it changes
    #[arg(long, value_name = "FILE", requires = "metrics", requires = "metrics_tls_key")]
    metrics_tls_cert: Option<PathBuf>,

    /// Its key
    #[arg(long, value_name = "FILE", requires = "metrics_tls_cert")]
    metrics_tls_key: Option<PathBuf>,

    /// Tell metrics also beyond this host without token and TLS, as is usual in a pod
    #[arg(long, requires = "metrics")]
    metrics_insecure: bool,

    /// Send metrics and findings to the OpenTelemetry collector at URL (OTLP over HTTP), such as
    /// http://127.0.0.1:4318
    #[arg(long, value_name = "URL", value_parser = endpoint)]
    otlp: Option<Endpoint>,

    /// Send metrics this often
    #[arg(long, value_name = "DURATION", default_value = "15s", requires = "otlp")]
    #[arg(value_parser = values::positive_duration)]
    otlp_every: Nanos,

    /// Send the bearer token in FILE with them
    #[arg(long, value_name = "FILE", requires = "otlp")]
    otlp_token_file: Option<PathBuf>,

    /// Trust the certificates in FILE instead of the system's
    #[arg(long, value_name = "FILE", requires = "otlp")]
    otlp_ca: Option<PathBuf>,

    /// POST each finding to URL when it opens, changes, and is over: the JSON of --format jsonl
    #[arg(long, value_name = "URL", value_parser = endpoint)]
    webhook: Option<Endpoint>,

    /// Send the bearer token in FILE with it
    #[arg(long, value_name = "FILE", requires = "webhook")]
    webhook_token_file: Option<PathBuf>,

    /// Trust the certificates in FILE instead of the system's
    #[arg(long, value_name = "FILE", requires = "webhook")]
    webhook_ca: Option<PathBuf>,

    /// Write findings to the journal of systemd; SOCKET is where it listens
    #[arg(long, value_name = "SOCKET", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = JOURNAL)]
    journald: Option<PathBuf>,
}

/// `http://host:4318/path`
fn endpoint(text: &str) -> Result<Endpoint, String> {
    const WANTED: &str = "a URL such as http://127.0.0.1:4318 or https://host/path is expected";
    let uri: hyper::Uri = text.parse().map_err(|_| WANTED.to_owned())?;
    let tls = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(WANTED.to_owned()),
    };
    let authority = uri.authority().ok_or(WANTED)?;
    if authority.as_str().contains('@') {
        return Err("a password in a URL is seen by all on this host: use a token file".to_owned());
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    if host.is_empty() {
        return Err(WANTED.to_owned());
    }
    let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
    let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    Ok(Endpoint { tls, host, port, path })
}

impl TelemetryArgs {
    /// Starts to send.
    ///
    /// # Errors
    /// If the arguments do not go together, or a file cannot be read.
    pub fn start(&self) -> anyhow::Result<Telemetry> {
        let listen = self.listen()?;
        let outbox = self.sends().map(|settings| Outbox::start(&settings)).transpose()?;
        let push = outbox.as_ref().and_then(|outbox| outbox.queue(Receiver::OtlpMetrics));
        let push = push.map(|queue| PushSettings {
            queue,
            every: Duration::from_nanos(self.otlp_every.0),
            encode: |told: &Told<'_>| otlp::metrics(told.processes, told.deliveries, told.at),
        });
        let metrics = (listen.is_some() || push.is_some()).then(|| MetricsSettings {
            listen,
            push,
            tallies: outbox.as_ref().map(Outbox::tallies).unwrap_or_default(),
            content_type: metrics::CONTENT_TYPE,
            render: |told: &Told<'_>| metrics::render(told.processes, told.deliveries),
        });
        Ok(Telemetry { metrics, outbox })
    }

    /// Finds what would keep [`start`](Self::start) or the watch from telling others; starts nothing, listens nowhere.
    ///
    /// # Errors
    /// If the arguments do not go together, or a file cannot be read.
    pub fn check(&self) -> anyhow::Result<()> {
        if let Some(listen) = self.listen()? {
            listen.check()?;
        }
        self.sends().map_or(Ok(()), |sends| sends.check())
    }

    fn listen(&self) -> anyhow::Result<Option<ListenSettings>> {
        let Some(address) = self.metrics else { return Ok(None) };
        let tls = self.metrics_tls_cert.clone().zip(self.metrics_tls_key.clone());
        let tls = tls.map(|(cert, key)| TlsFiles { cert, key });
        let token_file = self.metrics_token_file.clone();
        let guarded = token_file.is_some() || tls.is_some() || self.metrics_insecure;
        if !address.ip().is_loopback() && !guarded {
            return Err(exit::usage(
                "--metrics beyond this host tells names of functions to everybody who can reach it: give --metrics-token-file or --metrics-tls-cert with --metrics-tls-key, or say --metrics-insecure",
            ));
        }
        Ok(Some(ListenSettings { address, token_file, tls }))
    }

    fn sends(&self) -> Option<SendSettings> {
        let otlp = |path: &str| {
            let base = self.otlp.as_ref()?;
            // As the specification has it: the paths of the signals are put behind the URL's.
            let endpoint = base.at(&format!("{}{path}", base.path.trim_end_matches('/')));
            Some(HttpReceiver {
                endpoint,
                token_file: self.otlp_token_file.clone(),
                ca_file: self.otlp_ca.clone(),
                content_type: otlp::CONTENT_TYPE,
            })
        };
        let webhook = self.webhook.clone().map(|endpoint| HttpReceiver {
            endpoint,
            token_file: self.webhook_token_file.clone(),
            ca_file: self.webhook_ca.clone(),
            content_type: "application/json",
        });
        let settings = SendSettings {
            webhook,
            otlp_logs: otlp("/v1/logs"),
            otlp_metrics: otlp("/v1/metrics"),
            journal: self.journald.clone(),
        };
        (settings != SendSettings::default()).then_some(settings)
    }
}

/// What tells others while a watch runs.
pub struct Telemetry {
    metrics: Option<MetricsSettings>,
    outbox: Option<Outbox>,
}

impl Telemetry {
    /// For the loop that watches; it answers from then on.
    pub fn take_metrics(&mut self) -> Option<MetricsSettings> {
        self.metrics.take()
    }

    /// A sink that tells this one and the others.
    pub fn relay<'a>(&'a self, sink: &'a mut dyn WatchSink) -> Relay<'a> {
        Relay { sink, outbox: self.outbox.as_ref() }
    }

    /// Sends what waits, and tells what became of everything.
    pub fn finish(self) -> Vec<DeliveryView> {
        self.outbox.map(Outbox::finish).unwrap_or_default()
    }
}

/// Tells a sink, and sends findings elsewhere.
pub struct Relay<'a> {
    sink: &'a mut dyn WatchSink,
    outbox: Option<&'a Outbox>,
}

impl Relay<'_> {
    fn send(&self, finding: &FindingView, change: Change) {
        let Some(outbox) = self.outbox else { return };
        outbox.send(Receiver::Webhook, || {
            let mut body = Vec::new();
            // Writing to memory does not fail.
            let _infallible = json::write_finding(&mut body, finding, change);
            body
        });
        outbox.send(Receiver::OtlpLogs, || otlp::log(finding, change));
        outbox.send(Receiver::Journal, || journal::entry(finding, change));
    }
}

impl WatchSink for Relay<'_> {
    fn opened(&mut self, finding: &FindingView) -> io::Result<()> {
        self.send(finding, Change::Opened);
        self.sink.opened(finding)
    }

    fn updated(&mut self, finding: &FindingView) -> io::Result<()> {
        self.send(finding, Change::Updated);
        self.sink.updated(finding)
    }

    fn resolved(&mut self, finding: &FindingView) -> io::Result<()> {
        self.send(finding, Change::Resolved);
        self.sink.resolved(finding)
    }

    fn notice(&mut self, notice: &Notice) {
        self.sink.notice(notice);
    }

    fn notice_of(&mut self, who: &Who, notice: &Notice) {
        self.sink.notice_of(who, notice);
    }

    fn ended(&mut self, summary: &SummaryView) -> io::Result<()> {
        self.sink.ended(summary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_and_what_is_none_is_refused() {
        let of = |text| endpoint(text).map(|e| (e.tls, e.host, e.port, e.path));
        let found =
            |tls, host: &str, port, path: &str| Ok((tls, host.to_owned(), port, path.to_owned()));
        assert_eq!(of("http://127.0.0.1:4318"), found(false, "127.0.0.1", 4318, "/"));
        assert_eq!(of("https://host/a?b=c"), found(true, "host", 443, "/a?b=c"));
        assert_eq!(of("http://[::1]:8080/x"), found(false, "::1", 8080, "/x"));
        for wrong in
            ["", "host:4318", "ftp://host", "http://", "http://u:p@host/", "/path", "http:///x"]
        {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }
}
