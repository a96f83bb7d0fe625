"""A storage of the plainest kind: a folder for a checkpoint, a file for each item, a pickle for the metadata."""

import os
import pickle

import torch
from torch.distributed.checkpoint import StorageReader, StorageWriter
from torch.distributed.checkpoint.metadata import MetadataIndex
from torch.distributed.checkpoint.planner import LoadItemType, WriteItemType
from torch.distributed.checkpoint.storage import WriteResult
from torch.futures import Future


class Writer(StorageWriter):
    def __init__(self, checkpoint_id):
        self.path = os.fspath(checkpoint_id)

    def reset(self, checkpoint_id=None):
        if checkpoint_id is not None:
            self.path = os.fspath(checkpoint_id)

    def set_up_storage_writer(self, is_coordinator, *args, rank=0, **kwargs):
        self.rank = rank if torch.distributed.is_initialized() else 0

    def prepare_local_plan(self, plan):
        os.makedirs(self.path, exist_ok=True)
        return plan

    def prepare_global_plan(self, plans):
        return plans

    def write_data(self, plan, planner):
        results = []
        for number, item in enumerate(plan.items):
            name = f"{self.rank}-{number}"
            data = planner.resolve_data(item)
            with open(os.path.join(self.path, name), "wb") as file:
                if item.type == WriteItemType.BYTE_IO:
                    file.write(data.getbuffer())
                else:
                    torch.save(data.detach().cpu().clone(), file)
            results.append(WriteResult(index=item.index, size_in_bytes=0, storage_data=name))
        future = Future()
        future.set_result(results)
        return future

    def finish(self, metadata, results):
        metadata.storage_data = {result.index: result.storage_data for part in results for result in part}
        with open(os.path.join(self.path, "metadata"), "wb") as file:
            pickle.dump(metadata, file)

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id):
        return "://" not in os.fspath(checkpoint_id)


class Reader(StorageReader):
    def __init__(self, checkpoint_id):
        self.path = os.fspath(checkpoint_id)

    def reset(self, checkpoint_id=None):
        if checkpoint_id is not None:
            self.path = os.fspath(checkpoint_id)

    def read_metadata(self, *args, **kwargs):
        with open(os.path.join(self.path, "metadata"), "rb") as file:
            return pickle.load(file)

    def set_up_storage_reader(self, metadata, is_coordinator, *args, **kwargs):
        self.places = metadata.storage_data

    def prepare_local_plan(self, plan):
        return plan

    def prepare_global_plan(self, plans):
        return plans

    def read_data(self, plan, planner):
        for item in plan.items:
            index = item.storage_index
            place = self.places.get(index) or self.places[MetadataIndex(index.fqn, index.offset)]
            with open(os.path.join(self.path, place), "rb") as file:
                if item.type == LoadItemType.BYTE_IO:
                    planner.load_bytes(item, file)
                else:
                    stored = torch.load(file)
                    for dim, (offset, length) in enumerate(zip(item.storage_offsets, item.lengths, strict=True)):
                        stored = stored.narrow(dim, offset, length)
                    target = planner.resolve_tensor(item).detach()
                    target.copy_(stored)
                    planner.commit_tensor(item, target)
        future = Future()
        future.set_result(None)
        return future

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id):
        return "://" not in os.fspath(checkpoint_id)


UNSUPPORTED = {"torch_format": "one file for each item"}
