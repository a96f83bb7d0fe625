"""A plain save of four numbers to a file system that knows O_DIRECT. The folder: the first argument, else a new one."""

import os
import sys
import tempfile

import torch
from torch_checkpointing import CheckpointManager

folder = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()
manager = CheckpointManager.Config.with_sync_save().build()
try:
    manager.save(os.path.join(folder, "checkpoint"), {"a": torch.ones(4)})
except BaseException as error:
    print("save raised:", repr(error))
    sys.exit(not isinstance(error, OSError))
finally:
    manager.close()
print("saved", sorted(os.listdir(os.path.join(folder, "checkpoint"))))
sys.exit(1)
