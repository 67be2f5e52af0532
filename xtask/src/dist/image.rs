//! The container image: the binary alone, from nothing. An OCI image layout that `docker load` reads as well.

use anyhow::Result;
use serde_json::{Value, json};

use super::files::{self, File};
use super::{Release, sha256};

/// Where the binary lies in the image.
pub const ENTRYPOINT: &str = "/loiter";
/// Reading other processes takes root; which capabilities it keeps is said where it is run.
pub const USER: &str = "0";

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A blob, and how the layout refers to it.
struct Blob {
    digest: String,
    content: Vec<u8>,
}

impl Blob {
    fn new(content: Vec<u8>) -> Blob {
        Blob { digest: sha256(&content), content }
    }

    fn json(value: &Value) -> Result<Blob> {
        Ok(Blob::new(serde_json::to_vec(value)?))
    }

    fn path(&self) -> String {
        format!("blobs/sha256/{}", self.digest)
    }

    fn descriptor(&self, kind: &str) -> Value {
        json!({"mediaType": kind, "digest": format!("sha256:{}", self.digest), "size": self.content.len()})
    }
}

/// The archive of the image.
///
/// # Errors
/// None in practice: it is made in memory.
pub fn archive(release: &Release, binary: &[u8]) -> Result<Vec<u8>> {
    let plain =
        files::tar(&[File::program(ENTRYPOINT.trim_start_matches('/'), binary)], release.epoch)?;
    let layer = Blob::new(files::gzip(&plain)?);
    let config = Blob::json(&config(release, &sha256(&plain))?)?;
    let manifest = Blob::json(&json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config.descriptor(CONFIG),
        "layers": [layer.descriptor(LAYER)],
        "annotations": labels(release)?,
    }))?;
    let name = format!("loiter:{}", release.version);
    let mut described = manifest.descriptor(MANIFEST);
    described["platform"] = json!({"architecture": "amd64", "os": "linux"});
    described["annotations"] = json!({
        "org.opencontainers.image.ref.name": release.version,
        "io.containerd.image.name": name,
    });
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [described]});
    // What older Docker engines look for.
    let docker = json!([{"Config": config.path(), "RepoTags": [name], "Layers": [layer.path()]}]);
    let mut all = vec![
        File::plain("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#),
        File::plain("index.json", serde_json::to_vec(&index)?),
        File::plain("manifest.json", serde_json::to_vec(&docker)?),
    ];
    all.extend([layer, config, manifest].map(|blob| File::plain(blob.path(), blob.content)));
    files::tar(&all, release.epoch)
}

fn config(release: &Release, layer: &str) -> Result<Value> {
    let created = release.created()?;
    Ok(json!({
        "created": created,
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "User": USER,
            "Entrypoint": [ENTRYPOINT],
            "WorkingDir": "/",
            "Labels": labels(release)?,
        },
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer}")]},
        "history": [{"created": created, "created_by": "cargo xtask dist"}],
    }))
}

fn labels(release: &Release) -> Result<Value> {
    let mut labels = json!({
        "org.opencontainers.image.title": "loiter",
        "org.opencontainers.image.description": release.description,
        "org.opencontainers.image.version": release.version,
        "org.opencontainers.image.revision": release.commit,
        "org.opencontainers.image.licenses": release.licence,
        "org.opencontainers.image.created": release.created()?,
    });
    if !release.repository.is_empty() {
        labels["org.opencontainers.image.source"] = json!(release.repository);
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_dockerfile_gives_the_same_as_the_archive() {
        let path = crate::go::workspace().join("deploy/Dockerfile");
        let text = std::fs::read_to_string(path).unwrap();
        let lines: Vec<&str> =
            text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
        assert!(lines.contains(&"FROM scratch"), "{lines:?}");
        assert!(lines.contains(&format!("USER {USER}").as_str()), "{lines:?}");
        assert!(lines.contains(&format!("ENTRYPOINT [\"{ENTRYPOINT}\"]").as_str()), "{lines:?}");
    }
}
