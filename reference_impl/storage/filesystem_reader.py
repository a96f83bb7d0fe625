"""Reading checkpoints from a folder: what this package wrote, and what torch 1.13 to 2.15 wrote."""

from __future__ import annotations

import os
import uuid
from typing import Any

from torch.futures import Future

from dcp_conformance.reference_impl.errors import CorruptCheckpointError
from dcp_conformance.reference_impl.files.entry_bytes import EntryBytes
from dcp_conformance.reference_impl.files.entry_reader import EntryReader
from dcp_conformance.reference_impl.files.extensions import decoder
from dcp_conformance.reference_impl.files.local_files import LocalFiles, resolve_folder, usable_folder
from dcp_conformance.reference_impl.files.metadata_pickle import parse_metadata
from dcp_conformance.reference_impl.files.naming import metadata_name
from dcp_conformance.reference_impl.interchange import (
    LoadPlan,
    LoadPlanner,
    Metadata,
    MetadataIndex,
    ReadItem,
    StorageInfo,
    StorageMeta,
    StorageReader,
)


class FileSystemReader(StorageReader):
    """Reads a checkpoint folder. Changes nothing in it, and runs nothing from its metadata.

    Args:
        path: the folder.
        verify: check the checksums of what is read (of torch's own checkpoints: the CRC that torch.save notes).
    """

    def __init__(self, path: str | os.PathLike[str], _extension_registry: Any = None, *, verify: bool = True) -> None:
        self.verify = verify
        self._registry = _extension_registry
        #: Entries of the checkpoint, from its metadata.
        self.storage_data: dict[MetadataIndex, StorageInfo] = {}
        #: Identifies one load in the logs of a store.
        self.load_id = str(uuid.uuid4())
        self._open(path)

    def _open(self, path: str | os.PathLike[str]) -> None:
        self.files = LocalFiles(resolve_folder(path))

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        """Forget all of the last checkpoint; read ``checkpoint_id`` from now on, if given."""
        if checkpoint_id:
            self._open(checkpoint_id)
        self.storage_data = {}
        self.load_id = str(uuid.uuid4())

    @property
    def checkpoint_id(self) -> str:
        """The folder."""
        return self.files.folder

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """Return the metadata; with ``rank=`` that of a rank that saved alone.

        Raises FileNotFoundError where there is none, CorruptCheckpointError where it is damaged.
        """
        name = metadata_name(kwargs.get("rank"))
        try:
            with self.files.open(name) as blob:
                data = bytes(blob.read(0, blob.size))
        # One kind of error for "no checkpoint", wherever on the path something is missing: the engine then looks for
        # metadata of single ranks.
        except (FileNotFoundError, NotADirectoryError):
            raise FileNotFoundError(f"there is no checkpoint in {self.checkpoint_id!r}: no {name} in it") from None
        try:
            metadata = parse_metadata(data)
        except CorruptCheckpointError as error:
            raise CorruptCheckpointError(f"{name} in {self.checkpoint_id!r}: {error}") from error
        if metadata.storage_meta is None:
            metadata.storage_meta = StorageMeta()
        self.load_id = str(uuid.uuid4())
        metadata.storage_meta.load_id = self.load_id
        return metadata

    def set_up_storage_reader(self, metadata: Metadata, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        """Take the entries from the metadata."""
        if metadata.storage_data is None:
            raise CorruptCheckpointError("the metadata does not say where the data is")
        self.storage_data = metadata.storage_data

    def prepare_local_plan(self, plan: LoadPlan) -> LoadPlan:
        """Nothing to prepare."""
        return plan

    def prepare_global_plan(self, plans: list[LoadPlan]) -> list[LoadPlan]:
        """Nothing to prepare."""
        return plans

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        """Read all items; each file is opened once and each entry read once, in the order of the file."""
        for path, entries in self._by_file(plan).items():
            with self._open_data(path, entries) as blob:
                for index, requests in entries:
                    info = self.storage_data[index]
                    decode = decoder(info.transform_descriptors, self._registry)
                    EntryReader(EntryBytes(blob, index, info, self.verify)).serve(requests, planner, decode)
        future: Future[None] = Future()
        future.set_result(None)
        return future

    def _open_data(self, path: str, entries: list[tuple[MetadataIndex, list[ReadItem]]]) -> Any:
        try:
            return self.files.open(path)
        except FileNotFoundError:
            what = f"the file {path!r}, which holds {entries[0][0].fqn!r}"
            raise FileNotFoundError(f"{what}, is missing in {self.checkpoint_id!r}") from None

    def _by_file(self, plan: LoadPlan) -> dict[str, list[tuple[MetadataIndex, list[ReadItem]]]]:
        wanted: dict[MetadataIndex, list[ReadItem]] = {}
        for item in plan.items:
            if item.storage_index not in self.storage_data:
                offset = item.storage_index.offset
                raise CorruptCheckpointError(f"nothing is stored for {item.storage_index.fqn!r} at offset {offset}")
            # By entry: resharding asks for one entry many times, and it is read and verified once.
            wanted.setdefault(item.storage_index, []).append(item)
        files: dict[str, list[tuple[MetadataIndex, list[ReadItem]]]] = {}
        # In the order of the file, so that disks and stores with read-ahead are read forwards.
        for index in sorted(wanted, key=lambda index: self.storage_data[index].offset):
            files.setdefault(self.storage_data[index].relative_path, []).append((index, wanted[index]))
        return files

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        """Tell whether the id can name a local folder. Never raises and changes nothing."""
        return usable_folder(checkpoint_id, writing=False)
