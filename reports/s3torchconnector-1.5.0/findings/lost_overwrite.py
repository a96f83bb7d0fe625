"""Old and new checkpoint are lost when an overwrite fails in its commit. Run it through reports/with_seaweedfs.py."""

import sys

import torch
import torch.distributed.checkpoint as dcp
from s3torchconnector import S3ClientConfig
from s3torchconnector.dcp import S3StorageReader, S3StorageWriter

ID = "s3://dcp/overwritten"
CONFIG = S3ClientConfig(force_path_style=True, max_attempts=3)


def writer() -> S3StorageWriter:
    """Make a writer for the one checkpoint."""
    return S3StorageWriter("us-east-1", ID, s3client_config=CONFIG)


dcp.save({"t": torch.full((600,), 1.0)}, storage_writer=writer())

failing = writer()


def denied(old: object, new: object) -> None:
    """Stands for a store that answers the copy with 403, 429 or 500, or cannot be reached."""
    raise OSError("the store denied the copy")


# The commit is: remove .metadata, then rename .metadata.tmp to it.
failing.fs.rename = denied
try:
    dcp.save({"t": torch.full((600,), 2.0)}, storage_writer=failing)
except BaseException as error:
    print("save raised", type(error).__name__)

state = {"t": torch.zeros(600)}
try:
    dcp.load(state, storage_reader=S3StorageReader("us-east-1", ID, s3client_config=CONFIG))
except BaseException as error:
    print("load raised", type(error).__name__, "- neither checkpoint is left")
    sys.exit(0)
print("loaded", state["t"][0].item())
sys.exit(1)
