//! HTTP, as much of it as is needed: `/metrics`, `/healthz`, `/readyz`. What comes in is hostile: few
//! connections at a time, small headers, short patience.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::view::metrics::MetricsView;

use super::super::clock;
use super::guard::Guard;
use super::{MetricsSettings, Question, Told};

/// Connections at a time; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 32;
/// Bytes of a request's head.
const MAX_HEAD: usize = 16 << 10;
/// A request must come in this time, also on a connection that is kept.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// A connection lasts no longer; the other side then opens a new one.
const CONNECTION_WITHIN: Duration = Duration::from_secs(600);
/// The loop answers in this time, or is not healthy.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Where there are no more descriptors: how long to wait for one.
const PAUSE: Duration = Duration::from_millis(200);

const TEXT: &str = "text/plain; charset=utf-8";

/// Writes what is told.
pub struct Teller {
    settings: MetricsSettings,
}

impl Teller {
    pub const fn new(settings: MetricsSettings) -> Self {
        Self { settings }
    }

    /// Writes these processes with all else that is told now.
    pub fn told<T>(&self, processes: &[MetricsView], write: fn(&Told<'_>) -> T) -> T {
        let deliveries: Vec<_> = self.settings.tallies.iter().map(|tally| tally.view()).collect();
        write(&Told { processes, deliveries: &deliveries, at: clock::wall() })
    }

    fn text(&self, processes: &[MetricsView]) -> Response<Full<Bytes>> {
        match self.told(processes, self.settings.render) {
            Ok(text) => say(StatusCode::OK, self.settings.content_type, text),
            Err(_) => {
                say(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "cannot be written\n".to_owned())
            }
        }
    }
}

/// Serves until the future is dropped.
pub async fn serve(
    listener: TcpListener,
    teller: Arc<Teller>,
    guard: Guard,
    questions: mpsc::Sender<Question>,
) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let desk = Arc::new(Desk { teller, guard, questions });
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        let desk = Arc::clone(&desk);
        tokio::spawn(async move {
            // However it ends, it is the other side's business.
            let _ended = timeout(CONNECTION_WITHIN, connection(stream, desk)).await;
            drop(place);
        });
    }
}

/// What answers.
struct Desk {
    teller: Arc<Teller>,
    guard: Guard,
    questions: mpsc::Sender<Question>,
}

async fn connection(stream: TcpStream, desk: Arc<Desk>) {
    let Some(config) = desk.guard.tls() else { return speak(stream, desk).await };
    let shaken = timeout(HEAD_WITHIN, TlsAcceptor::from(config).accept(stream)).await;
    if let Ok(Ok(stream)) = shaken {
        speak(stream, desk).await;
    }
}

async fn speak<S>(stream: S, desk: Arc<Desk>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let answer = service_fn(move |request| {
        let desk = Arc::clone(&desk);
        async move { Ok::<_, Infallible>(answer(&request, &desk).await) }
    });
    let _ended = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), answer)
        .await;
}

async fn answer(request: &Request<Incoming>, desk: &Desk) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return say(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET\n".to_owned());
    }
    let questions = &desk.questions;
    match request.uri().path() {
        "/metrics" if !desk.guard.lets_in(request) => {
            let text = "a token is needed: Authorization: Bearer TOKEN\n".to_owned();
            let mut refused = say(StatusCode::UNAUTHORIZED, TEXT, text);
            let scheme = HeaderValue::from_static("Bearer");
            refused.headers_mut().insert(WWW_AUTHENTICATE, scheme);
            refused
        }
        "/metrics" => match ask(questions, Question::Metrics).await {
            Some(views) => desk.teller.text(&views),
            None => no_answer(),
        },
        "/healthz" => match ask(questions, Question::Ready).await {
            Some(_) => say(StatusCode::OK, TEXT, "ok\n".to_owned()),
            None => no_answer(),
        },
        "/readyz" => match ask(questions, Question::Ready).await {
            Some(true) => say(StatusCode::OK, TEXT, "ready\n".to_owned()),
            Some(false) => say(
                StatusCode::SERVICE_UNAVAILABLE,
                TEXT,
                "the first look at all tasks is not complete\n".to_owned(),
            ),
            None => no_answer(),
        },
        _ => say(
            StatusCode::NOT_FOUND,
            TEXT,
            "there are /metrics, /healthz and /readyz\n".to_owned(),
        ),
    }
}

fn no_answer() -> Response<Full<Bytes>> {
    let text = "the loop that watches does not answer\n".to_owned();
    say(StatusCode::SERVICE_UNAVAILABLE, TEXT, text)
}

/// Asks the loop; None if it does not answer in time.
pub async fn ask<T>(
    questions: &mpsc::Sender<Question>,
    question: impl FnOnce(oneshot::Sender<T>) -> Question,
) -> Option<T> {
    let (answer, answered) = oneshot::channel();
    let asked = async {
        questions.send(question(answer)).await.ok()?;
        answered.await.ok()
    };
    timeout(ANSWER_WITHIN, asked).await.ok()?
}

fn say(status: StatusCode, content_type: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
