"""A tree put back on the disk, in place of whatever is there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from dcp_conformance.harness.replay.inodes import Content


def rebuild(folder: Path, tree: Mapping[str, Content]) -> None:
    """Make `folder` hold exactly this tree: bytes are files, None are folders, texts are links. Nothing is synced."""
    with os.scandir(folder) as found:
        for entry in found:
            # A link to a folder is removed and not followed: it may point at something that is not ours.
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                os.unlink(entry.path)
    # Sorted, so that a folder is made before what lies in it.
    for path in sorted(tree):
        place, content = f"{folder}/{path}", tree[path]
        if content is None:
            os.mkdir(place)
        elif isinstance(content, str):
            os.symlink(content, place)
        else:
            with open(place, "wb", buffering=0) as stream:
                stream.write(content)
