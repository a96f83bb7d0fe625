"""Checkpoints in an object store, past the backend: list, read, damage, delete through the store's own client.

Ready parts for adapters. The clients are imported where they are used: only an adapter for such a store needs one.
Where a store is and who may enter it comes from the environment alone.
"""

from __future__ import annotations

import abc
import functools
import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from dcp_conformance.harness.backend.blobs import Blobs
from dcp_conformance.harness.scratch import run_folder_of

__all__ = [
    "ADDRESS",
    "AzureBlobs",
    "FsspecBlobs",
    "Keys",
    "ObjectStore",
    "S3Blobs",
    "key_of",
    "uploads_left",
    "warm_s3_client",
]

# The variable in which `start` says where its store listens, as host:port. The harness puts its proxy in its place, in
# every variable whose value has it, for the cases about a network that fails.
ADDRESS = "DCP_STORE_ADDRESS"


class ObjectStore(Protocol):
    """A store with its server, for `Backend(store=...)`."""

    def start(self) -> Mapping[str, str]:
        """Start the server, make the bucket; return the environment by which clients find it and may enter."""
        ...

    def stop(self) -> None:
        """Stop the server and remove its data."""
        ...

    def alive(self) -> bool:
        """Tell whether it answers."""
        ...

    def restart(self) -> None:
        """Start a server that died again, at the same address and over the same data."""
        ...

    def new_checkpoint_id(self, scratch: str, name: str) -> str:
        """Return an id of this run."""
        ...

    def blobs(self, checkpoint_id: str) -> Blobs:
        """Return the objects of a checkpoint."""
        ...

    def discard(self, checkpoint_id: str) -> bool:
        """Delete all objects of a checkpoint, and what was begun and never finished."""
        ...


class Keys(abc.ABC):
    """The objects of a checkpoint in a flat store: names are what follows the checkpoint's prefix.

    A subclass says how whole keys are listed, read, written and deleted.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix.strip("/") + "/"

    def names(self) -> list[str]:
        """See Blobs."""
        return sorted(key.removeprefix(self._prefix) for key in self._list() if not key.endswith("/"))

    def read(self, name: str) -> bytes:
        """See Blobs."""
        return self._get(self._existing(name))

    def write(self, name: str, data: bytes) -> None:
        """See Blobs."""
        self._put(self._key(name), data)

    def delete(self, name: str) -> None:
        """See Blobs."""
        self._remove(self._existing(name))

    def _existing(self, name: str) -> str:
        if name not in self.names():
            raise KeyError(f"no stored object {name!r} below {self._prefix}")
        return self._key(name)

    def _key(self, name: str) -> str:
        if not name or name.startswith("/") or ".." in name.split("/"):
            raise ValueError(f"{name!r} is not the name of a stored object: it must be a relative key without '..'.")
        return self._prefix + name

    @abc.abstractmethod
    def _list(self) -> list[str]: ...

    @abc.abstractmethod
    def _get(self, key: str) -> bytes: ...

    @abc.abstractmethod
    def _put(self, key: str, data: bytes) -> None: ...

    @abc.abstractmethod
    def _remove(self, key: str) -> None: ...


class S3Blobs(Keys):
    """The objects below a prefix of an S3 bucket, through boto3."""

    def __init__(self, bucket: str, prefix: str) -> None:
        super().__init__(prefix)
        self._bucket = bucket

    def clear(self) -> None:
        """Delete every object and abort every upload below the prefix."""
        for key in self._list():
            self._remove(key)
        for key, upload in self._open_uploads():
            s3_client().abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload)

    def uploads(self) -> list[str]:
        """Return the names to which a multipart upload was begun and neither completed nor aborted."""
        return sorted(key.removeprefix(self._prefix) for key, _ in self._open_uploads())

    def _open_uploads(self) -> list[tuple[str, str]]:
        answer = s3_client().list_multipart_uploads(Bucket=self._bucket)
        found = [(item["Key"], item["UploadId"]) for item in answer.get("Uploads", ())]
        return [(key, upload) for key, upload in found if key.startswith(self._prefix)]

    def _list(self) -> list[str]:
        pages = s3_client().get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", ())]

    def _get(self, key: str) -> bytes:
        return bytes(s3_client().get_object(Bucket=self._bucket, Key=key)["Body"].read())

    def _put(self, key: str, data: bytes) -> None:
        s3_client().put_object(Bucket=self._bucket, Key=key, Body=data)

    def _remove(self, key: str) -> None:
        s3_client().delete_object(Bucket=self._bucket, Key=key)


class AzureBlobs(Keys):
    """The blobs below a prefix of an Azure container, through azure-storage-blob."""

    def __init__(self, container: str, prefix: str) -> None:
        super().__init__(prefix)
        self._container = container

    def clear(self) -> None:
        """Delete every blob below the prefix; blocks that were never committed go by themselves."""
        for key in self._list():
            self._remove(key)

    def uploads(self) -> list[str]:
        """Return the names of blobs of which there are blocks and nothing that commits them."""
        listed = self._client().list_blobs(name_starts_with=self._prefix, include=["uncommittedblobs"])
        return sorted({item.name.removeprefix(self._prefix) for item in listed} - set(self.names()))

    def _client(self) -> Any:
        return azure_client().get_container_client(self._container)

    def _list(self) -> list[str]:
        return [item.name for item in self._client().list_blobs(name_starts_with=self._prefix)]

    def _get(self, key: str) -> bytes:
        return bytes(self._client().download_blob(key).readall())

    def _put(self, key: str, data: bytes) -> None:
        self._client().upload_blob(key, data, overwrite=True)

    def _remove(self, key: str) -> None:
        self._client().delete_blob(key)


class FsspecBlobs(Keys):
    """The files below any address that fsspec understands (`memory://x`, `gs://bucket/x`), uncached."""

    def __init__(self, address: str) -> None:
        from fsspec.core import url_to_fs  # type: ignore[import-untyped]

        self._fs, path = url_to_fs(address)
        super().__init__(path)
        # What fsspec calls a path may begin with a slash (memory, file), and the keys that it lists do too.
        self._prefix = path.rstrip("/") + "/"

    def clear(self) -> None:
        """Delete everything below the address."""
        if self._fs.exists(self._prefix):
            self._fs.rm(self._prefix, recursive=True)

    def _list(self) -> list[str]:
        self._fs.invalidate_cache()
        return [str(path) for path in self._fs.find(self._prefix)]

    def _get(self, key: str) -> bytes:
        return bytes(self._fs.cat_file(key))

    def _put(self, key: str, data: bytes) -> None:
        self._fs.pipe_file(key, data)

    def _remove(self, key: str) -> None:
        self._fs.rm_file(key)


@functools.lru_cache(maxsize=1)
def s3_client() -> Any:
    """Return a client of the S3 that the environment names; where the harness started it, never through its proxy."""
    import boto3

    address = os.environ.get(ADDRESS)
    return boto3.client("s3", endpoint_url=f"http://{address}" if address else None)


def warm_s3_client() -> None:
    """Let boto3 read its models now, in the process from which ranks are forked: 1.1 s of each rank's time saved.

    A module may hold the records of several backends, of which only one needs boto3: without it, nothing is done.
    """
    if importlib.util.find_spec("boto3") is None:
        return
    import boto3

    boto3.client("s3", region_name="us-east-1", aws_access_key_id="none", aws_secret_access_key="none")


@functools.lru_cache(maxsize=1)
def azure_client() -> Any:
    """Return a client of the Azure account that the environment's connection string names."""
    from azure.storage.blob import BlobServiceClient

    return BlobServiceClient.from_connection_string(os.environ["AZURE_STORAGE_CONNECTION_STRING"])


def key_of(scratch: str, name: str) -> str:
    """Return the key of a checkpoint that no other run has: a store may outlive the run, or be shared."""
    folder = run_folder_of(Path(scratch)) or Path(scratch)
    return f"{folder.name}/{name}"


def uploads_left(blobs: Blobs) -> list[str]:
    """Return the names of objects that were begun and never finished, where the store can tell; [] elsewhere."""
    uploads = getattr(blobs, "uploads", None)
    return [] if uploads is None else list(uploads())
