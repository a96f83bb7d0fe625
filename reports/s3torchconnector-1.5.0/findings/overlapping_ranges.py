"""A load that needs one stored entry twice raises "Overlapping ranges". Run it through reports/with_seaweedfs.py."""

import sys

import torch
import torch.distributed.checkpoint as dcp
from s3torchconnector import S3ClientConfig
from s3torchconnector.dcp import S3StorageReader, S3StorageWriter
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.planner import LoadPlan

ID = "s3://dcp/twice"
CONFIG = S3ClientConfig(force_path_style=True, max_attempts=3)


class Halves(DefaultLoadPlanner):
    """Asks for both halves of a tensor, as a rank with two shards of it does."""

    def create_local_plan(self) -> LoadPlan:
        [whole] = super().create_local_plan().items
        half = torch.Size([300])
        parts = [
            type(whole)(whole.type, whole.dest_index, torch.Size([at]), whole.storage_index, torch.Size([at]), half)
            for at in (0, 300)
        ]
        return LoadPlan(parts)


writer = S3StorageWriter("us-east-1", ID, s3client_config=CONFIG)
dcp.save({"t": torch.arange(600.0)}, storage_writer=writer)
state = {"t": torch.zeros(600)}
try:
    dcp.load(state, storage_reader=S3StorageReader("us-east-1", ID, s3client_config=CONFIG), planner=Halves())
except BaseException as error:
    print("load raised:", str(error).strip().splitlines()[-1])
    sys.exit("Overlapping ranges" not in str(error))
print("loaded", bool((state["t"] == torch.arange(600.0)).all()))
sys.exit(1)
