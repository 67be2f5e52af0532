//! Who may read the metrics, and from where.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::loiter::{Loiter, run};
use crate::common::process::http_get;
use crate::common::{GoProc, NEWEST_GO, Variant, go_build, need_bpf, or_skip};
use crate::tls::certificate;
use crate::watch;

const PATIENCE: Duration = Duration::from_secs(120);

/// The address that is told.
pub fn address(loiter: &mut Loiter) -> String {
    let said = loiter.wait_message("metrics at");
    let address = said.split("://").nth(1).unwrap();
    address.split("/metrics").next().unwrap().to_owned()
}

/// The status and the body that curl gets.
fn curl(url: &str, args: &[&str]) -> (String, String) {
    let mut command = Command::new("curl");
    let output = command.args(["-s", "-w", "\n%{http_code}", url]).args(args).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    (status.to_owned(), body.to_owned())
}

#[test]
fn beyond_this_host_metrics_need_a_token_tls_or_a_clear_word() {
    or_skip!(need_bpf());
    let exe = or_skip!(go_build(NEWEST_GO, "million", Variant::Stripped));
    let (target, _) = GoProc::start_ready(&exe, &[]);
    let pid = target.pid().to_string();
    let output = run(&["watch", &pid, "--metrics=0.0.0.0:0"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    for word in ["--metrics-token-file", "--metrics-tls-cert", "--metrics-insecure"] {
        assert!(said.contains(word), "{said}");
    }
    let mut loiter = watch(&target, &["--metrics=0.0.0.0:0", "--metrics-insecure"]);
    let said = loiter.wait_message("metrics at");
    assert!(said.contains("everybody who can reach it"), "{said}");
    let address = address(&mut loiter).replace("0.0.0.0", "127.0.0.1");
    assert!(http_get(&address, "/metrics").unwrap().ends_with("# EOF\n"));
    drop(loiter);
    target.finish();
}

#[test]
fn with_a_token_nobody_else_reads_and_a_new_one_takes_its_place() {
    or_skip!(need_bpf());
    let exe = or_skip!(go_build(NEWEST_GO, "million", Variant::Stripped));
    let (target, _) = GoProc::start_ready(&exe, &[]);
    let home = tempfile::tempdir().unwrap();
    let token = home.path().join("token");
    std::fs::write(&token, "one\n").unwrap();
    let file = token.to_str().unwrap();
    let mut loiter = watch(&target, &["--metrics=127.0.0.1:0", "--metrics-token-file", file]);
    let url = format!("http://{}", address(&mut loiter));
    let status = |token: &str| {
        let header = format!("Authorization: Bearer {token}");
        curl(&format!("{url}/metrics"), &["-H", &header]).0
    };
    assert_eq!(status("one"), "200");
    assert_eq!((status("two"), status("")), ("401".to_owned(), "401".to_owned()));
    assert_eq!(curl(&format!("{url}/metrics"), &[]).0, "401");
    assert_eq!(curl(&format!("{url}/healthz"), &[]).0, "200");
    assert_eq!(curl(&format!("{url}/readyz"), &[]).0, "200");
    std::fs::write(&token, "another\n").unwrap();
    let end = Instant::now() + PATIENCE;
    while status("another") != "200" {
        assert!(Instant::now() < end, "the new token is not taken");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(status("one"), "401");
    drop(loiter);
    target.finish();
}

#[test]
fn over_tls_metrics_are_read_with_the_certificate_and_with_the_one_that_follows_it() {
    or_skip!(need_bpf());
    let exe = or_skip!(go_build(NEWEST_GO, "million", Variant::Stripped));
    let (target, _) = GoProc::start_ready(&exe, &[]);
    let home = tempfile::tempdir().unwrap();
    certificate(home.path(), 1);
    let path = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    let (cert, key, old) = (path("cert.pem"), path("key.pem"), path("old.pem"));
    let args = ["--metrics=0.0.0.0:0", "--metrics-tls-cert", &cert, "--metrics-tls-key", &key];
    let mut loiter = watch(&target, &args);
    assert!(loiter.wait_message("metrics at").contains("https://"));
    let address = address(&mut loiter).replace("0.0.0.0", "127.0.0.1");
    let url = format!("https://{address}/metrics");
    std::fs::copy(&cert, &old).unwrap();
    let (status, text) = curl(&url, &["--cacert", &old]);
    assert_eq!(status, "200");
    assert!(text.ends_with("# EOF\n"), "{text}");
    assert!(http_get(&address, "/metrics").is_err(), "not without TLS");
    certificate(home.path(), 2);
    let end = Instant::now() + PATIENCE;
    while curl(&url, &["--cacert", &cert]).0 != "200" {
        assert!(Instant::now() < end, "the new certificate is not shown");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(curl(&url, &["--cacert", &old]).0, "000", "the old one is not shown any more");
    drop(loiter);
    target.finish();
}
