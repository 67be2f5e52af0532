//! The manifests of deploy/kubernetes: right by the schemas of Kubernetes, with the rights that the
//! code names, and with arguments that loiter takes.

use std::path::PathBuf;
use std::process::Command;

use loiter::kernel::privileges::Tier;
use serde_json::Value;

use crate::common::go::workspace;
use crate::common::loiter::run;
use crate::common::or_skip;
use crate::common::readers::kubernetes_schemas;

/// The oldest release in which a profile of AppArmor is a field, and the newest that is known.
const RELEASES: [&str; 2] = ["1.30", "1.37"];
const MANIFESTS: [&str; 3] = ["namespace.yaml", "daemonset.yaml", "sidecar.yaml"];

/// Checks the documents on stdin, and prints them as JSON.
const CHECK: &str = "
import json, sys, yaml, kubernetes_validate
documents = list(yaml.safe_load_all(sys.stdin))
for document in documents:
    for release in sys.argv[1:]:
        kubernetes_validate.validate(document, release, strict=True)
print(json.dumps(documents))
";

fn manifest(name: &str) -> PathBuf {
    workspace().join("deploy/kubernetes").join(name)
}

/// The documents of a manifest that is right.
fn validated(text: &str) -> Result<Vec<Value>, String> {
    use std::io::Write as _;
    let mut python = Command::new("python3")
        .args(["-c", CHECK])
        .args(RELEASES)
        .env("PYTHONPATH", kubernetes_schemas()?)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .map_err(|e| format!("python3: {e}"))?;
    python.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    serde_json::from_slice(&output.stdout)
        .map_err(|_| String::from_utf8_lossy(&output.stderr).into_owned())
}

fn documents(name: &str) -> Vec<Value> {
    validated(&std::fs::read_to_string(manifest(name)).unwrap())
        .unwrap_or_else(|why| panic!("{name}: {why}"))
}

/// The pod's specification, and in it the container of loiter.
fn pod(documents: &[Value]) -> (&Value, &Value) {
    let spec = &documents[0]["spec"]["template"]["spec"];
    let containers = spec["containers"].as_array().unwrap();
    (spec, containers.iter().find(|container| container["name"] == "loiter").unwrap())
}

#[test]
fn the_manifests_are_right_by_the_schemas_of_kubernetes() {
    or_skip!(kubernetes_schemas());
    for name in MANIFESTS {
        assert_eq!(documents(name).len(), 1, "{name}");
    }
    let text = std::fs::read_to_string(manifest("daemonset.yaml")).unwrap();
    let wrong = text.replace("hostPID: true", "hostPid: true");
    assert!(validated(&wrong).unwrap_err().contains("hostPid"));
}

#[test]
fn the_manifests_give_exactly_the_rights_that_the_code_names() {
    or_skip!(kubernetes_schemas());
    let rights = Tier::UprobeMulti.rights();
    let wanted: Vec<&str> =
        rights.iter().map(|right| right.name.strip_prefix("CAP_").unwrap()).collect();
    for name in ["daemonset.yaml", "sidecar.yaml"] {
        let documents = documents(name);
        let (spec, container) = pod(&documents);
        let context = &container["securityContext"];
        assert_eq!(context["capabilities"]["add"], serde_json::json!(wanted), "{name}");
        assert_eq!(context["capabilities"]["drop"], serde_json::json!(["ALL"]), "{name}");
        assert_eq!(context["readOnlyRootFilesystem"], true, "{name}");
        assert_eq!(context["allowPrivilegeEscalation"], false, "{name}");
        assert_eq!(spec["automountServiceAccountToken"], false, "{name}: no API server");
        let seccomp = [&context["seccompProfile"], &spec["securityContext"]["seccompProfile"]];
        assert!(seccomp.iter().any(|profile| profile["type"] == "RuntimeDefault"), "{name}");
    }
    let (daemons, sidecars) = (documents("daemonset.yaml"), documents("sidecar.yaml"));
    assert_eq!(pod(&daemons).0["hostPID"], true);
    assert_eq!(pod(&sidecars).0["shareProcessNamespace"], true);
    assert_eq!(pod(&sidecars).0["hostPID"], Value::Null);
}

#[test]
fn the_arguments_of_the_manifests_are_loiters() {
    or_skip!(kubernetes_schemas());
    for name in ["daemonset.yaml", "sidecar.yaml"] {
        let documents = documents(name);
        let (_, container) = pod(&documents);
        let args: Vec<&str> =
            container["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap()).collect();
        // Help is an answer only where all before it is right.
        let with = |last: &[&str]| run(&[args.as_slice(), last].concat());
        let output = with(&["--help"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{name}: {said}");
        assert_eq!(with(&["--no-such-argument", "--help"]).status.code(), Some(2), "{name}");
        for variable in ["LOITER_POD_NAME", "LOITER_POD_NAMESPACE", "LOITER_POD_UID"] {
            let env = container["env"].as_array().unwrap();
            assert!(env.iter().any(|one| one["name"] == variable), "{name}: {variable}");
        }
        let port = &container["ports"][0]["containerPort"];
        assert!(args.iter().any(|arg| arg.ends_with(&format!(":{port}"))), "{name}: {port}");
    }
}
