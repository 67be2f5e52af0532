//! A Tokio runtime as it stands: `tokiopool idle`, workers with nothing to do and a listener; `tokiopool blocked`, a worker in
//! a call that blocks: a lock that another thread holds while it sleeps. `ready` on stdout once all of it stands. Ends when
//! its stdin does.

use std::io::Read as _;
use std::sync::mpsc::channel;
use std::sync::Mutex;
use std::time::Duration;

static TABLE: Mutex<u64> = Mutex::new(0);

async fn accept(listener: tokio::net::TcpListener) {
    while listener.accept().await.is_ok() {}
}

/// Waits for a lock of the standard library on a worker, which can serve nobody meanwhile.
#[inline(never)]
fn blocks_a_worker() {
    *TABLE.lock().expect("nobody panics") += 1;
}

fn main() {
    let blocked = std::env::args().nth(1).as_deref() == Some("blocked");
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(3).enable_all().build().expect("a runtime");
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"));
    runtime.spawn(accept(listener.expect("a free port")));
    let (sender, started) = channel();
    if blocked {
        let (held, holds) = channel();
        std::thread::spawn(move || {
            let _held = TABLE.lock();
            held.send(()).expect("main waits");
            std::thread::sleep(Duration::from_secs(3600));
        });
        holds.recv().expect("it is held");
        runtime.spawn(async move {
            sender.send(()).expect("main waits");
            blocks_a_worker();
        });
    } else {
        runtime.spawn(async move { sender.send(()).expect("main waits") });
    }
    started.recv().expect("it started");
    println!("ready");
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    std::process::exit(0);
}
