//! HTTP, as much of it as is needed: `/metrics`, `/healthz`, `/readyz`. What comes in is hostile: few
//! connections at a time, small headers, short patience.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::view::metrics::MetricsView;

use super::super::clock;
use super::guard::Guard;
use super::{MetricsSettings, Question, Told};

/// Connections at a time. One that has asked nothing yet makes room for a new one; where all have, the new one waits.
const MAX_CONNECTIONS: usize = 32;
/// Bytes of a request's head.
const MAX_HEAD: usize = 16 << 10;
/// A request's head must come in this time, also the next one on a connection that is kept, and so must a TLS
/// handshake: places are few, and whoever probes for health waits for one.
const HEAD_WITHIN: Duration = Duration::from_secs(5);
/// A connection lasts no longer; the other side then opens a new one.
const CONNECTION_WITHIN: Duration = Duration::from_secs(600);
/// The loop answers in this time, or is not healthy.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Where there are no more descriptors: how long to wait for one.
const PAUSE: Duration = Duration::from_millis(200);

const TEXT: &str = "text/plain; charset=utf-8";
const METRICS: &str = "/metrics";

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
    let mut seats = Seats::default();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        if places.available_permits() == 0 {
            seats.give_up_a_silent_one();
        }
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let has_asked = Arc::new(AtomicBool::new(false));
        let visit = Visit { desk: Arc::clone(&desk), has_asked: Arc::clone(&has_asked) };
        let task = tokio::spawn(async move {
            // However it ends, it is the other side's business.
            let _ended = timeout(CONNECTION_WITHIN, connection(stream, visit)).await;
            drop(place);
        });
        seats.take(Seat { task: task.abort_handle(), has_asked });
    }
}

/// Who has a place, the longest there first.
#[derive(Default)]
struct Seats(Vec<Seat>);

struct Seat {
    task: AbortHandle,
    /// Whether a whole head of a request has come.
    has_asked: Arc<AtomicBool>,
}

impl Seats {
    fn take(&mut self, seat: Seat) {
        self.0.retain(|seat| !seat.task.is_finished());
        self.0.push(seat);
    }

    /// Ends the connection that has said nothing for longest, if there is one: hundreds of such would keep a probe
    /// for health waiting, which asks as soon as it has come.
    fn give_up_a_silent_one(&mut self) {
        self.0.retain(|seat| !seat.task.is_finished());
        let silent = self.0.iter().position(|seat| !seat.has_asked.load(Ordering::Relaxed));
        if let Some(at) = silent {
            self.0.remove(at).task.abort();
        }
    }
}

/// One connection's way to the desk.
struct Visit {
    desk: Arc<Desk>,
    has_asked: Arc<AtomicBool>,
}

/// What answers.
struct Desk {
    teller: Arc<Teller>,
    guard: Guard,
    questions: mpsc::Sender<Question>,
}

async fn connection(stream: TcpStream, visit: Visit) {
    let Some(config) = visit.desk.guard.tls() else { return speak(stream, visit).await };
    let shaken = timeout(HEAD_WITHIN, TlsAcceptor::from(config).accept(stream)).await;
    if let Ok(Ok(stream)) = shaken {
        speak(stream, visit).await;
    }
}

async fn speak<S>(stream: S, visit: Visit)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let answer = service_fn(move |request| {
        visit.has_asked.store(true, Ordering::Relaxed);
        let desk = Arc::clone(&visit.desk);
        async move { Ok::<_, Infallible>(answer(&request, &desk).await) }
    });
    let _ended = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), answer)
        .await;
}

/// Only who may read the metrics keeps a place from one request to the next: others could keep all of them.
async fn answer(request: &Request<Incoming>, desk: &Desk) -> Response<Full<Bytes>> {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let path = request.uri().path();
    if reads && path == METRICS && desk.guard.lets_in(request) {
        return match ask(&desk.questions, Question::Metrics).await {
            Some(views) => desk.teller.text(&views),
            None => no_answer(),
        };
    }
    let mut answer = if reads {
        answer_to_all(path, &desk.questions).await
    } else {
        say(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET\n".to_owned())
    };
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// What those are told who may not read the metrics.
async fn answer_to_all(path: &str, questions: &mpsc::Sender<Question>) -> Response<Full<Bytes>> {
    match path {
        METRICS => {
            let text = "a token is needed: Authorization: Bearer TOKEN\n".to_owned();
            let mut refused = say(StatusCode::UNAUTHORIZED, TEXT, text);
            let scheme = HeaderValue::from_static("Bearer");
            refused.headers_mut().insert(WWW_AUTHENTICATE, scheme);
            refused
        }
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

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::path::PathBuf;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// A server with a loop that answers at once.
    async fn server(token: Option<&PathBuf>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let settings = MetricsSettings {
            listen: None,
            push: None,
            tallies: Vec::new(),
            content_type: TEXT,
            render: |_| Ok("# EOF\n".to_owned()),
        };
        let guard = Guard::new(token, None).unwrap();
        let (questions, mut asked) = mpsc::channel(8);
        tokio::spawn(serve(listener, Arc::new(Teller::new(settings)), guard, questions));
        tokio::spawn(async move {
            while let Some(question) = asked.recv().await {
                // Who asked may have gone.
                match question {
                    Question::Metrics(answer) => drop(answer.send(Vec::new())),
                    Question::Ready(answer) => drop(answer.send(true)),
                }
            }
        });
        address
    }

    /// What is answered until the server closes the connection.
    async fn said(address: SocketAddr, requests: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(requests.as_bytes()).await.unwrap();
        let mut answers = String::new();
        stream.read_to_string(&mut answers).await.unwrap();
        answers
    }

    fn get(path: &str, headers: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nHost: here\r\n{headers}\r\n")
    }

    #[tokio::test]
    async fn connections_that_say_nothing_do_not_keep_a_probe_from_its_answer() {
        let address = server(None).await;
        let mut silent = Vec::new();
        for _ in 0..MAX_CONNECTIONS * 20 {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let probe = get("/healthz", "");
        // Before any of them has been silent for too long.
        let healthy = timeout(HEAD_WITHIN / 2, said(address, &probe)).await.expect("in time");
        assert!(healthy.ends_with("\r\n\r\nok\n"), "{healthy}");
    }

    #[tokio::test]
    async fn who_has_asked_keeps_its_place_whoever_comes_and_says_nothing() {
        let address = server(None).await;
        let mut scraper = TcpStream::connect(address).await.unwrap();
        let scrape = get(METRICS, "");
        let mut answer = [0; 1024];
        for _ in 0..2 {
            scraper.write_all(scrape.as_bytes()).await.unwrap();
            let n = scraper.read(&mut answer).await.unwrap();
            assert!(answer[..n].starts_with(b"HTTP/1.1 200 OK"), "{n}");
            let mut silent = Vec::new();
            for _ in 0..MAX_CONNECTIONS * 2 {
                silent.push(TcpStream::connect(address).await.unwrap());
            }
            assert!(said(address, &get("/healthz", "")).await.ends_with("ok\n"));
        }
    }

    #[tokio::test]
    async fn only_who_may_read_the_metrics_keeps_a_connection() {
        let dir = tempfile::tempdir().unwrap();
        let token = dir.path().join("token");
        std::fs::write(&token, "s3cret").unwrap();
        let address = server(Some(&token)).await;
        for (path, status) in
            [("/healthz", "200"), ("/readyz", "200"), (METRICS, "401"), ("/other", "404")]
        {
            // The second one finds nobody who reads it.
            let answers = said(address, &get(path, "").repeat(2)).await;
            assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{answers}");
            assert!(answers.starts_with(&format!("HTTP/1.1 {status} ")), "{answers}");
            assert!(answers.contains("connection: close\r\n"), "{answers}");
        }
        let scrape = |more: &str| get(METRICS, &format!("Authorization: Bearer s3cret\r\n{more}"));
        let scrapes = [scrape(""), scrape("Connection: close\r\n")].concat();
        let answers = said(address, &scrapes).await;
        assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2, "{answers}");
    }
}
