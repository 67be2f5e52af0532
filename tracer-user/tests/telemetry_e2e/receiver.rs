//! A receiver of HTTP requests: keeps them, and answers as it is told.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(120);

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    /// When it came: before it was answered.
    pub at: Instant,
    /// Its path.
    pub path: String,
    /// Its head, in lower case but for values.
    pub head: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Request {
    /// A header; empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.head.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
    }
}

/// Listens at a port of its own until the test ends.
pub struct Collector {
    /// Where.
    pub address: String,
    requests: Receiver<Request>,
    answers: Arc<Mutex<VecDeque<String>>>,
}

impl Collector {
    /// Answers with these heads, one after the other, then with 200. Words in the place of a head: `hangs` (no
    /// answer), `closes` (neither), `breaks` (half a head), `stalls` (a head without the body it promises). What
    /// follows a head after an empty line is the body.
    pub fn start(answers: &[&str]) -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let answers: VecDeque<String> = answers.iter().map(|a| (*a).to_owned()).collect();
        let answers = Arc::new(Mutex::new(answers));
        let (sender, requests) = channel();
        let next = Arc::clone(&answers);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (sender, next) = (sender.clone(), Arc::clone(&next));
                std::thread::spawn(move || serve(stream, &sender, &next));
            }
        });
        Collector { address, requests, answers }
    }

    /// Waits for a request that fits; others before it are passed over.
    pub fn wait(&self, what: &str, fits: impl Fn(&Request) -> bool) -> Request {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let request = self.requests.recv_timeout(left);
            let request = request.unwrap_or_else(|e| panic!("no {what}: {e}"));
            if fits(&request) {
                return request;
            }
        }
    }

    /// Requests that have come and were not waited for.
    pub fn rest(&self) -> Vec<Request> {
        self.requests.try_iter().collect()
    }

    /// How many answers are left of those given.
    pub fn answers_left(&self) -> usize {
        self.answers.lock().unwrap().len()
    }
}

fn serve(stream: TcpStream, sender: &Sender<Request>, answers: &Mutex<VecDeque<String>>) {
    let Some(request) = read(&stream) else { return };
    let answer = answers.lock().unwrap().pop_front();
    let answer = answer.unwrap_or_else(|| "200 OK".to_owned());
    let _ = sender.send(request);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let closing = format!("content-length: {}\r\nconnection: close", body.len());
    let _ = match head {
        "hangs" => until_closed(&stream),
        "closes" => Ok(()),
        "breaks" => write!(&stream, "HTTP/1.1 200 O"),
        "stalls" => write!(&stream, "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345")
            .and_then(|()| until_closed(&stream)),
        head => write!(&stream, "HTTP/1.1 {head}\r\n{closing}\r\n\r\n{body}"),
    };
}

/// Says nothing until the other side has enough of it.
fn until_closed(mut stream: &TcpStream) -> std::io::Result<()> {
    std::io::copy(&mut stream, &mut std::io::sink()).map(|_| ())
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        head.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let mut request = Request { at: Instant::now(), path, head, body: Vec::new() };
    request.body = vec![0; request.header("content-length").parse().unwrap_or(0)];
    reader.read_exact(&mut request.body).ok()?;
    Some(request)
}
