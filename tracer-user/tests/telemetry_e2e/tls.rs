//! Receivers behind TLS: a certificate that is right, and those that are not.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::common::loiter::{Loiter, run};
use crate::common::process::http_get;
use crate::common::{GoProc, NEWEST_GO, Variant, go_build, need_bpf, or_skip};
use crate::guarded::address;
use crate::receiver::Collector;
use crate::watch;

fn openssl(dir: &Path, args: &[&str]) {
    let output = Command::new("openssl").args(args).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

const KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

/// A certificate for 127.0.0.1 that signs itself.
pub fn certificate(dir: &Path, number: u32) {
    let number = number.to_string();
    let subject = ["-days", "2", "-subj", "/CN=loiter", "-set_serial", &number];
    let files = ["-keyout", "key.pem", "-out", "cert.pem"];
    let name = ["-addext", "subjectAltName=IP:127.0.0.1"];
    openssl(dir, &[&["req", "-x509"], &KEY[..], &subject, &name, &files].concat());
}

/// A CA, and a certificate for 127.0.0.1 that it has signed.
struct Authority {
    home: tempfile::TempDir,
}

impl Authority {
    fn new(name: &str) -> Authority {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path();
        let subject = format!("/CN={name}");
        let ca = ["-days", "2", "-subj", &subject, "-keyout", "ca-key.pem", "-out", "ca.pem"];
        openssl(dir, &[&["req", "-x509"], &KEY[..], &ca].concat());
        let files = ["-subj", "/CN=receiver", "-keyout", "key.pem", "-out", "request.pem"];
        openssl(dir, &[&["req", "-new"], &KEY[..], &files].concat());
        std::fs::write(dir.join("names"), "subjectAltName=IP:127.0.0.1\n").unwrap();
        let signed = ["x509", "-req", "-in", "request.pem", "-CA", "ca.pem", "-CAkey"];
        let how = ["ca-key.pem", "-CAcreateserial", "-days", "2", "-extfile", "names"];
        openssl(dir, &[&signed[..], &how, &["-out", "cert.pem"]].concat());
        Authority { home }
    }

    fn ca(&self) -> PathBuf {
        self.home.path().join("ca.pem")
    }
}

/// OpenSSL's TLS in front of a collector.
struct Front {
    process: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    port: String,
}

impl Front {
    fn start(authority: &Authority, collector: &Collector) -> Front {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/telemetry_e2e/tls_front.py");
        let mut process = Command::new("python3")
            .arg(script)
            .args(["cert.pem", "key.pem", collector.address.rsplit(':').next().unwrap()])
            .current_dir(authority.home.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = lines.next().unwrap().unwrap();
        Front { process, lines, port }
    }

    /// What became of the next connection.
    fn next(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn crowd() -> Result<GoProc, String> {
    need_bpf()?;
    let exe = go_build(NEWEST_GO, "mutexcrowd", Variant::Stripped)?;
    Ok(GoProc::start_ready(&exe, &["-n", "300"]).0)
}

fn first_finding(loiter: &mut Loiter) -> Value {
    loiter.wait_line("a finding", |line| line["schema"] == "loiter.finding/1")
}

#[test]
fn metrics_and_findings_go_over_tls_to_who_shows_a_certificate_of_the_ca_that_is_named() {
    let target = or_skip!(crowd());
    let authority = Authority::new("ours");
    let (hook, otlp) = (Collector::start(&[]), Collector::start(&[]));
    let (mut hook_front, otlp_front) =
        (Front::start(&authority, &hook), Front::start(&authority, &otlp));
    let (hook_url, otlp_url) = (
        format!("https://127.0.0.1:{}/hook", hook_front.port),
        format!("https://127.0.0.1:{}", otlp_front.port),
    );
    let ca = authority.ca();
    let ca = ca.to_str().unwrap();
    let args = ["--webhook", &hook_url, "--webhook-ca", ca, "--otlp", &otlp_url, "--otlp-ca", ca];
    let mut loiter = watch(&target, &args);
    let finding = first_finding(&mut loiter);
    let told = hook.wait("finding", |request| request.path == "/hook");
    assert_eq!(serde_json::from_slice::<Value>(&told.body).unwrap(), finding);
    assert!(hook_front.next().starts_with("taken TLSv1.3"));
    assert!(told.header("host").starts_with("127.0.0.1:"));
    for path in ["/v1/logs", "/v1/metrics"] {
        otlp.wait(path, |request| request.path == path && !request.body.is_empty());
    }
    let (_, summary, _) = loiter.interrupt();
    for delivery in summary["deliveries"].as_array().unwrap() {
        assert!(delivery["sent"].as_u64().unwrap() > 0, "{summary}");
        assert_eq!((&delivery["failed"], &delivery["dropped"]), (&0.into(), &0.into()));
    }
    target.finish();
}

#[test]
fn who_shows_another_certificate_is_told_nothing_and_the_findings_wait_until_one_is_trusted() {
    let target = or_skip!(crowd());
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let collector = Collector::start(&[]);
    let mut front = Front::start(&theirs, &collector);
    let url = format!("https://127.0.0.1:{}/", front.port);
    let home = tempfile::tempdir().unwrap();
    let trusted = home.path().join("trusted.pem");
    std::fs::copy(ours.ca(), &trusted).unwrap();
    let args = ["--metrics=127.0.0.1:0", "--webhook", &url, "--webhook-ca"];
    let mut loiter = watch(&target, &[&args[..], &[trusted.to_str().unwrap()]].concat());
    let metrics = address(&mut loiter);
    let finding = first_finding(&mut loiter);
    let said = loiter.wait_message("cannot be told now");
    for words in [&*format!("127.0.0.1:{}", front.port), "UnknownIssuer", "--webhook-ca"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    for _ in 0..2 {
        assert!(front.next().starts_with("refused"), "it is tried again");
    }
    assert!(collector.rest().is_empty(), "nothing is told to a stranger");
    let page = http_get(&metrics, "/metrics").unwrap();
    for outcome in ["sent", "failed", "dropped"] {
        let zero = format!("loiter_deliveries_total{{to=\"webhook\",outcome=\"{outcome}\"}} 0");
        assert!(page.contains(&zero), "{page}");
    }
    std::fs::copy(theirs.ca(), &trusted).unwrap();
    let told = collector.wait("finding", |_| true);
    assert_eq!(serde_json::from_slice::<Value>(&told.body).unwrap(), finding, "none is lost");
    loiter.wait_message("takes what is sent again");
    let (_, summary, _) = loiter.interrupt();
    assert_eq!(summary["deliveries"][0]["failed"], 0, "{summary}");
    assert_eq!(summary["deliveries"][0]["dropped"], 0, "{summary}");
    target.finish();
}

#[test]
fn a_certificate_for_another_name_and_a_file_without_certificates_are_said_to_be_that() {
    let target = or_skip!(crowd());
    let authority = Authority::new("ours");
    let collector = Collector::start(&[]);
    let front = Front::start(&authority, &collector);
    let url = format!("https://localhost:{}/", front.port);
    let ca = authority.ca();
    let args = ["--webhook", &url, "--webhook-ca", ca.to_str().unwrap()];
    let mut loiter = watch(&target, &args);
    let said = loiter.wait_message("cannot be told now");
    assert!(said.contains("its certificate is not for localhost"), "{said}");
    drop(loiter);
    assert!(collector.rest().is_empty());

    let key = authority.home.path().join("key.pem");
    let (pid, key) = (target.pid().to_string(), key.to_str().unwrap());
    let output = run(&["watch", &pid, "--webhook", &url, "--webhook-ca", key]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains(key) && said.contains("no certificate in it"), "{said}");
    target.finish();
}
