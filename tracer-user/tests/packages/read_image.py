"""Reads an OCI image layout from a tar archive, checks every digest and size, and unpacks its root file system.

read_image.py ARCHIVE DIRECTORY  prints the image's configuration and what Docker's own index names, as JSON.
"""

import gzip
import hashlib
import io
import json
import sys
import tarfile

archive = tarfile.open(sys.argv[1])


def member(name):
    return archive.extractfile(name).read()


def blob(descriptor):
    kind, digest = descriptor["digest"].split(":")
    content = member(f"blobs/{kind}/{digest}")
    assert hashlib.new(kind, content).hexdigest() == digest, descriptor
    assert len(content) == descriptor["size"], descriptor
    return content


assert json.loads(member("oci-layout")) == {"imageLayoutVersion": "1.0.0"}
index = json.loads(member("index.json"))
assert index["schemaVersion"] == 2
(described,) = index["manifests"]
manifest = json.loads(blob(described))
config = json.loads(blob(manifest["config"]))
layers = [gzip.decompress(blob(layer)) for layer in manifest["layers"]]
digests = ["sha256:" + hashlib.sha256(layer).hexdigest() for layer in layers]
assert config["rootfs"] == {"type": "layers", "diff_ids": digests}, config["rootfs"]
(docker,) = json.loads(member("manifest.json"))
assert docker["Config"].split("/")[-1] == manifest["config"]["digest"].split(":")[1]
assert [l.split("/")[-1] for l in docker["Layers"]] == [l["digest"].split(":")[1] for l in manifest["layers"]]
names = []
for layer in layers:
    with tarfile.open(fileobj=io.BytesIO(layer)) as files:
        names += [(f.name, oct(f.mode), f.uid, f.gid) for f in files]
        files.extractall(sys.argv[2])
print(json.dumps({"config": config, "tags": docker["RepoTags"], "files": names}))
