//! One HTTP request at a time to one receiver: a connection of its own, bounded in time and in what is read of the
//! answer. Redirects are not followed: whoever asked for a receiver meant that one.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use http_body_util::{BodyExt as _, Collected, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;

use crate::output::otlp::{self, Remark};
use crate::view::delivery::Receiver;

use super::reread::{Reread, Secret, secret};
use super::{Endpoint, HttpReceiver};

/// From the first packet to the head of the answer it takes no longer.
const WITHIN: Duration = Duration::from_secs(10);
/// Nor does the rest of the answer. What it says counts without that.
const REST_WITHIN: Duration = Duration::from_secs(1);
/// Bytes of an answer's body that are read. What is used of it is what a collector remarks.
const MAX_ANSWER: usize = 64 << 10;

/// What became of a request.
#[derive(Debug)]
pub enum Answer {
    /// It was taken; what the receiver remarked on it, empty if nothing.
    Taken(String),
    /// It may be taken later: after this, if the receiver said so; and why it was not now.
    Later(Option<Duration>, String),
    /// It will never be taken, and why.
    Refused(String),
}

/// Speaks to one receiver.
pub struct Client {
    to: Receiver,
    endpoint: Endpoint,
    content_type: HeaderValue,
    token: Option<Reread<Secret>>,
    trust: Option<Trust>,
}

enum Trust {
    /// The system's certificates.
    System(Arc<ClientConfig>),
    /// Those of a file.
    File(Reread<Arc<ClientConfig>>),
}

impl Client {
    /// Reads the files; connects to nobody.
    ///
    /// # Errors
    /// If a file cannot be read, or there are no certificates to trust.
    pub fn new(to: Receiver, receiver: &HttpReceiver) -> anyhow::Result<Self> {
        let trust = match (&receiver.ca_file, receiver.endpoint.tls) {
            (_, false) => None,
            (None, true) => Some(Trust::System(system_trust()?)),
            (Some(path), true) => {
                let made = |contents: &[Vec<u8>]| {
                    let mut roots = RootCertStore::empty();
                    for der in CertificateDer::pem_slice_iter(&contents.concat()) {
                        let der = der.map_err(anyhow::Error::msg).context("not PEM")?;
                        roots.add(der).context("not a certificate to trust")?;
                    }
                    anyhow::ensure!(!roots.is_empty(), "no certificate in it");
                    config(roots)
                };
                Some(Trust::File(Reread::new(vec![path.clone()], made)?))
            }
        };
        Ok(Self {
            to,
            endpoint: receiver.endpoint.clone(),
            content_type: HeaderValue::from_static(receiver.content_type),
            token: receiver.token_file.as_deref().map(secret).transpose()?,
            trust,
        })
    }

    /// For messages: who and where, without path or query, which may hold a secret.
    pub fn place(&self) -> String {
        format!("{} at {}:{}", self.to.word(), self.endpoint.host, self.endpoint.port)
    }

    /// Sends one body.
    pub async fn post(&self, body: Bytes) -> Answer {
        match self.exchange(body, Instant::now() + WITHIN).await {
            Err(why) => Answer::Later(None, format!("{why:#}")),
            Ok(answer) => answer,
        }
    }

    async fn exchange(&self, body: Bytes, end: Instant) -> anyhow::Result<Answer> {
        let Endpoint { host, port, .. } = &self.endpoint;
        let connected = TcpStream::connect((host.as_str(), *port));
        let stream = by(end, connected).await?.context("cannot connect")?;
        let config = match &self.trust {
            None => return self.over(stream, body, end).await,
            Some(Trust::System(config)) => Arc::clone(config),
            Some(Trust::File(config)) => Arc::clone(&*config.get()),
        };
        let name = ServerName::try_from(host.clone()).context("no name of a server")?;
        let shaken = by(end, TlsConnector::from(config).connect(name, stream)).await?;
        let shaken = shaken.map_err(|why| match self.remedy(&why) {
            Some(remedy) => anyhow::anyhow!("TLS: {why}: {remedy}"),
            None => anyhow::anyhow!("TLS: {why}"),
        });
        self.over(shaken?, body, end).await
    }

    /// What helps against a certificate that is refused.
    fn remedy(&self, why: &io::Error) -> Option<String> {
        use rustls::{CertificateError, Error};
        let ca = if matches!(self.to, Receiver::Webhook) { "--webhook-ca" } else { "--otlp-ca" };
        match why.get_ref()?.downcast_ref()? {
            Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
                Some(format!("nobody who is trusted signed its certificate; name its CA with {ca}"))
            }
            Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            ) => Some(format!(
                "its certificate is not for {}; name it in the URL as its certificate does",
                self.endpoint.host
            )),
            _ => None,
        }
    }

    async fn over<S>(&self, stream: S, body: Bytes, end: Instant) -> anyhow::Result<Answer>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let shaken = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = shaken.context("cannot speak HTTP")?;
        let request = self.request(body)?;
        let exchanged = async move {
            let response = by(end, sender.send_request(request)).await?.context("no answer")?;
            Ok(answer(self.to, response).await)
        };
        // The connection moves the bytes; when it ends the exchange has what it will ever have.
        tokio::pin!(connection, exchanged);
        tokio::select! {
            answer = &mut exchanged => answer,
            ended = &mut connection => {
                ended.context("the connection broke")?;
                exchanged.await
            }
        }
    }

    fn request(&self, body: Bytes) -> anyhow::Result<Request<Full<Bytes>>> {
        let Endpoint { host, port, path, tls } = &self.endpoint;
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let usual = if *tls { 443 } else { 80 };
        let host = if *port == usual { host } else { format!("{host}:{port}") };
        let mut request = Request::post(path.as_str())
            .header(HOST, host)
            .header(USER_AGENT, concat!("loiter/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, self.content_type.clone());
        if let Some(token) = &self.token {
            let value = format!("Bearer {}", token.get().expose());
            let mut value = HeaderValue::try_from(value).context("no token")?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        request.body(Full::new(body)).context("no request")
    }
}

/// `Retry-After`: seconds, or a moment.
fn pause(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let moment = rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    // One that has passed is now.
    Some(Duration::try_from(moment.duration_since(now)).unwrap_or_default())
}

/// What comes of this, if it comes in time.
async fn by<T>(end: Instant, what: impl Future<Output = T>) -> anyhow::Result<T> {
    let late = |_| anyhow::anyhow!("no answer within {} s", WITHIN.as_secs());
    timeout_at(end, what).await.map_err(late)
}

async fn answer(to: Receiver, response: Response<Incoming>) -> Answer {
    let status = response.status();
    let after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let after = after.and_then(|text| pause(text, Timestamp::now()));
    let rest = Limited::new(response.into_body(), MAX_ANSWER).collect();
    let rest = timeout(REST_WITHIN, rest).await.ok().and_then(Result::ok);
    match status {
        _ if status.is_success() => taken(to, &rest.map(Collected::to_bytes).unwrap_or_default()),
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Answer::Later(after, format!("it answers {status}")),
        _ if status.is_redirection() => {
            Answer::Refused(format!("it answers {status}, and redirects are not followed"))
        }
        _ => Answer::Refused(format!("it answers {status}")),
    }
}

/// What an answer of success says. A collector may take a part only: that is not to be sent again (OTLP, "partial
/// success").
fn taken(to: Receiver, body: &[u8]) -> Answer {
    let remark = match to {
        Receiver::OtlpLogs | Receiver::OtlpMetrics => otlp::remark(body),
        Receiver::Webhook | Receiver::Journal => None,
    };
    let what = if matches!(to, Receiver::OtlpLogs) { "log records" } else { "data points" };
    match remark {
        None => Answer::Taken(String::new()),
        Some(Remark { rejected: 0, words }) => Answer::Taken(words),
        Some(Remark { rejected, words }) => {
            Answer::Refused(format!("it took all but {rejected} of the {what}: {words}"))
        }
    }
}

fn system_trust() -> anyhow::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let _unusable_ones_are_left_out = roots.add_parsable_certificates(found.certs);
    anyhow::ensure!(
        !roots.is_empty(),
        "this system has no certificates to trust: install ca-certificates, or name a file with --otlp-ca or --webhook-ca"
    );
    config(roots)
}

fn config(roots: RootCertStore) -> anyhow::Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("TLS")?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_told_in_seconds_or_as_a_moment() {
        let now: Timestamp = "2026-11-22T08:49:37Z".parse().unwrap();
        let of = |text| pause(text, now).map(|pause| pause.as_secs());
        assert_eq!(of(" 120 "), Some(120));
        assert_eq!(of("Sun, 22 Nov 2026 08:50:07 GMT"), Some(30));
        assert_eq!(of("Sun, 22 Nov 2026 08:00:00 GMT"), Some(0), "that is past");
        for text in ["", "-1", "soon", "1.5", "99999999999999999999", "Sun, 22 Nov"] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
