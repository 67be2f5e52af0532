//! `/readyz` of a watch of many processes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::common::loiter::Loiter;
use crate::common::process::http_get;
use crate::common::{need_bpf, or_skip};
use crate::support::{named, start, still, watch_all, watches};

const SETTLE: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two questions.
const PAUSE: Duration = Duration::from_millis(5);

fn is_ready(address: &str) -> bool {
    match http_get(address, "/readyz") {
        Ok(text) => text == "ready\n",
        Err(why) if why.contains("503") => false,
        Err(why) => panic!("{why}"),
    }
}

/// Asks until it is ready: no line says so.
fn wait_until_ready(address: &str) {
    let end = Instant::now() + PATIENCE;
    while !is_ready(address) {
        assert!(Instant::now() < end, "it does not become ready");
        std::thread::sleep(PAUSE);
    }
}

/// Waits until this process is watched. Whether it was ready all the time until then.
fn stays_ready(loiter: &mut Loiter, address: &str, pid: u32) -> bool {
    let (watched, end) = (AtomicBool::new(false), Instant::now() + PATIENCE);
    std::thread::scope(|scope| {
        let asks = scope.spawn(|| {
            let mut ready = true;
            while ready && !watched.load(Ordering::Relaxed) && Instant::now() < end {
                ready = is_ready(address);
                std::thread::sleep(PAUSE);
            }
            ready
        });
        loiter.wait_line("a later one is watched", |line| watches(line, pid));
        watched.store(true, Ordering::Relaxed);
        asks.join().expect("it is answered")
    })
}

#[test]
fn a_watch_of_many_is_ready_once_those_of_the_start_are_known_and_stays_so_when_others_come() {
    or_skip!(need_bpf());
    let exe = or_skip!(still());
    let dir = tempfile::tempdir().unwrap();
    let exe = named(&exe, dir.path(), "daemon-ready");
    let began = Instant::now();
    let early = [start(&exe, 10), start(&exe, 10)];
    let mut loiter = watch_all("daemon-ready", &["--metrics=127.0.0.1:0", "--settle", "3s"]);
    let said = loiter.wait_message("metrics at");
    let address = said.split("http://").nth(1).unwrap().split("/metrics").next().unwrap();
    let ready = is_ready(address);
    // On a machine that is slow they may be known by now.
    assert!(!ready || began.elapsed() >= SETTLE, "nothing was looked at yet");
    wait_until_ready(address);
    for pid in early.each_ref().map(|target| target.pid()) {
        // It was told before: what is waited for is the reader of the lines.
        loiter.wait_line("one of the start is watched", |line| watches(line, pid));
    }
    let late = start(&exe, 10);
    assert!(stays_ready(&mut loiter, address, late.pid()), "one that comes later changes nothing");
    let (code, _, _) = loiter.interrupt();
    assert_eq!(code, 0);
}
