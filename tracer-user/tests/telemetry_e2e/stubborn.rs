//! Receivers that do not answer as they should: nothing is lost silently, and watching goes on.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::process::http_get;
use crate::common::{GoProc, NEWEST_GO, Variant, go_build, need_bpf, or_skip};
use crate::guarded::address;
use crate::receiver::Collector;
use crate::watch;

const PATIENCE: Duration = Duration::from_secs(120);

fn crowd() -> Result<GoProc, String> {
    need_bpf()?;
    let exe = go_build(NEWEST_GO, "mutexcrowd", Variant::Stripped)?;
    Ok(GoProc::start_ready(&exe, &["-n", "300"]).0)
}

#[test]
fn who_closes_breaks_off_hangs_or_asks_for_a_pause_is_told_again_until_it_has_taken_the_finding() {
    let target = or_skip!(crowd());
    let pause = "429 Slowly\r\nretry-after: 3";
    let collector = Collector::start(&["closes", "breaks", "hangs", pause, "stalls"]);
    let url = format!("http://{}/", collector.address);
    let mut loiter = watch(&target, &["--webhook", &url]);
    let finding = loiter.wait_line("a finding", |line| line["schema"] == "loiter.finding/1");
    let mut came = Vec::new();
    for what in ["closes", "breaks", "hangs", "asks for a pause", "stalls"] {
        let request = collector.wait(what, |_| true);
        came.push(request.at);
        assert_eq!(serde_json::from_slice::<Value>(&request.body).unwrap(), finding, "{what}");
    }
    assert!(came[4] - came[3] >= Duration::from_secs(3), "it asked for that");
    assert!(came[3] - came[2] >= Duration::from_secs(10), "it had that long to answer");
    loiter.wait_message("takes what is sent again");
    let said = loiter.messages.iter().filter(|message| message.contains("trying again"));
    assert_eq!(said.count(), 1, "once, not at each attempt");
    let (_, summary, _) = loiter.interrupt();
    // What it has taken it is not told again, though its answer was not complete.
    let again = collector.rest().into_iter().filter(|request| {
        serde_json::from_slice::<Value>(&request.body).is_ok_and(|told| told == finding)
    });
    assert_eq!(again.count(), 0);
    assert_eq!(summary["deliveries"][0]["failed"], 0, "{summary}");
    target.finish();
}

#[test]
fn what_finds_no_room_while_a_receiver_hangs_is_dropped_and_counted_in_the_metrics_and_the_end_is_soon()
 {
    let target = or_skip!(crowd());
    let collector = Collector::start(&["hangs"; 256]);
    let url = format!("http://{}", collector.address);
    let args = ["--metrics=127.0.0.1:0", "--otlp", &url, "--otlp-every", "100ms"];
    let mut loiter = watch(&target, &args);
    let metrics = address(&mut loiter);
    let of = |outcome: &str| {
        let page = http_get(&metrics, "/metrics").unwrap();
        let start =
            format!("loiter_deliveries_total{{to=\"otlp-metrics\",outcome=\"{outcome}\"}} ");
        let line = page.lines().find_map(|line| line.strip_prefix(&start));
        line.unwrap_or_else(|| panic!("no {start}: {page}")).parse::<u64>().unwrap()
    };
    let end = Instant::now() + PATIENCE;
    while of("dropped") < 10 {
        assert!(Instant::now() < end, "nothing is dropped");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!((of("sent"), of("failed")), (0, 0));
    assert_eq!(http_get(&metrics, "/healthz").unwrap(), "ok\n", "watching does not wait");
    let told = Instant::now();
    loiter.signal(libc::SIGTERM);
    let (_, summary, _) = loiter.end();
    // 5 s for what waits; the rest is for a machine that is busy.
    assert!(told.elapsed() < Duration::from_secs(30), "{:?}", told.elapsed());
    let all = summary["deliveries"].as_array().unwrap();
    let of = all.iter().find(|d| d["to"] == "otlp-metrics").unwrap();
    assert_eq!((&of["sent"], &of["failed"]), (&0.into(), &0.into()), "{of}");
    assert!(of["dropped"].as_u64().unwrap() >= 14, "with those that waited: {of}");
    target.finish();
}

#[test]
fn what_a_collector_leaves_out_is_told_with_its_reason_and_not_sent_again() {
    or_skip!(need_bpf());
    let target = or_skip!(crowd());
    // `{ partial_success: { rejected_log_records: 1, error_message: "quota" } }`, and the message alone.
    let answers =
        ["200 OK\r\n\r\n\n\x09\x08\x01\x12\x05quota", "200 OK\r\n\r\n\n\x08\x12\x06slowly"];
    for (answer, said) in answers.into_iter().zip([
        "not delivered to otlp-logs at 127.0.0.1:PORT: it took all but 1 of the log records: quota",
        "otlp-logs at 127.0.0.1:PORT remarks: slowly",
    ]) {
        let collector = Collector::start(&[answer; 64]);
        let url = format!("http://{}", collector.address);
        let mut loiter = watch(&target, &["--otlp", &url, "--otlp-every", "1h"]);
        let log = collector.wait("log", |request| request.path == "/v1/logs");
        let port = collector.address.rsplit(':').next().unwrap();
        loiter.wait_message(&said.replace("PORT", port));
        let (_, summary, _) = loiter.interrupt();
        let of = &summary["deliveries"].as_array().unwrap()[0];
        assert_eq!(of["to"], "otlp-logs", "{summary}");
        assert_eq!(of["failed"].as_u64() > Some(0), said.starts_with("not"), "{summary}");
        let again = collector.rest().iter().any(|request| request.body == log.body);
        assert!(!again, "what was left out is not sent again");
    }
    target.finish();
}
