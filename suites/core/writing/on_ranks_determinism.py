"""Copy, move and re-date what is stored, and look at random generators: nothing of that may matter."""

from __future__ import annotations

import hashlib
import os
import random
import re
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import torch

from dcp_conformance.harness.laws.observations import Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.values import blank, coded
from dcp_conformance.harness.subject.session import Session, into_subject

DAY = 86400
# Times between 1990 and 2030, from a fixed sequence: no generator is used, since those are what DET-04 looks at.
FIRST_DAY, DAYS, STRIDE = 7305, 14600, 6007


def save_own(session: Session) -> None:
    """Save on each rank tensors of its own, and on all of them one in common."""
    session.save(_state(session.rank), session.new_id())


def load_copy_in_disorder(session: Session, ranks: int) -> list[Difference]:
    """Copy the checkpoint in another order with random dates and load all of it."""
    copy, copied = session.new_id("copy"), [False]
    if session.rank == 0:
        copied = [_copied_in_disorder(session.new_id(), copy)]
    if session.world_size > 1:
        torch.distributed.broadcast_object_list(copied)
    if not copied[0]:
        session.give_up("nothing is stored below the id, so it cannot be copied")
    return _load_all(session, copy, ranks)


def load_of_others(session: Session) -> list[Difference]:
    """Load from the copy, on each rank, what the next rank saved."""
    wanted = _state((session.rank + 1) % session.world_size)
    target = blank(wanted)
    session.load(target, session.new_id("copy"))
    return differences(wanted, target)


def load_elsewhere(session: Session, how: str) -> list[Difference]:
    """Move the checkpoint, or copy it and remove or spoil the original, and load it from its new folder."""
    checkpoint_id = str(session.new_id())
    session.save(_state(0), checkpoint_id)
    place = os.path.join(str(session.new_id("elsewhere")), "deeper", "under another name")
    pieces = _stored(checkpoint_id)
    if not pieces:
        session.give_up("nothing is stored below the id, so it cannot be copied")
    os.makedirs(os.path.dirname(place))
    for piece in pieces:
        _transfer(piece, place + str(piece)[len(checkpoint_id) :], how)
    return _load_all(session, place, 1)


def dated_ahead(session: Session) -> list[Difference]:
    """Save, set the dates of all that is stored one day ahead, save another state to the same id, and load."""
    checkpoint_id, second = session.new_id(), {"t": coded(1, (40,), version=2), "u": coded(2, (3,), version=2)}
    session.save({"t": coded(1, (40,), version=1), "u": coded(2, (3,), version=1)}, checkpoint_id)
    tomorrow = time.time() + DAY
    for piece in _stored(str(checkpoint_id)):
        for path in (piece, *piece.rglob("*")):
            os.utime(path, (tomorrow, tomorrow))
    target = blank(second)
    session.save(second, checkpoint_id)
    session.load(target, checkpoint_id)
    return differences(second, target)


def generators_changed(session: Session, call: str) -> list[str]:
    """Return the random generators that a call leaves in another state."""
    if call == "async_save" and (session.engine.async_save is None or "async_save" in session.storage.unsupported):
        session.excuse("there is no async_save here")
    checkpoint_id, state = session.new_id(), _state(0)
    if call == "load":
        session.save(state, checkpoint_id)
    target, before = blank(state), _generators()
    if call == "load":
        session.load(target, checkpoint_id)
    elif call == "save":
        session.save(state, checkpoint_id)
    else:
        response = session.async_save(state, checkpoint_id, async_stager=session.stager())
        into_subject(getattr(response, "upload_completion", response).result, 30)
    return [name for name, now in _generators().items() if before[name] != now]


def _state(rank: int) -> dict[str, Any]:
    own = {f"own{rank}": coded(rank, (100,), version=1), f"more{rank}": coded(rank + 10, (3, 4), version=1)}
    return {**own, "common": coded(99, (5,), version=1)}


def _load_all(session: Session, checkpoint_id: Any, ranks: int) -> list[Difference]:
    wanted = {key: value for rank in range(ranks) for key, value in _state(rank).items()}
    target = blank(wanted)
    session.load(target, checkpoint_id)
    return differences(wanted, target)


def _stored(checkpoint_id: str) -> list[Path]:
    """Return the folder or file of that name, and those beside it whose names only add an ending."""
    path = Path(checkpoint_id)
    return sorted(
        found for found in path.parent.iterdir() if re.fullmatch(rf"{re.escape(path.name)}([.-].*)?", found.name)
    )


def _transfer(piece: Path, place: str, how: str) -> None:
    if how == "moved":
        os.rename(piece, place)
    elif piece.is_dir():
        shutil.copytree(piece, place, symlinks=True)
        _give_up(piece, how)
    else:
        shutil.copy(piece, place)
        _give_up(piece, how)


def _give_up(piece: Path, how: str) -> None:
    """Remove the original; or leave every file of it in its place, with other bytes."""
    if how == "copied":
        shutil.rmtree(piece) if piece.is_dir() else piece.unlink()
        return
    for path in [piece, *piece.rglob("*")]:
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            path.unlink()  # a new file: the copy may be a link to the old one
            path.write_bytes(bytes(255 - byte for byte in content))


def _copied_in_disorder(checkpoint_id: Any, copy: Any) -> bool:
    pieces = [path for piece in _stored(str(checkpoint_id)) for path in (piece, *piece.rglob("*"))]
    # Ordered by a digest of their names, and so in no order that names, ranks or dates would give.
    for number, piece in enumerate(sorted(pieces, key=lambda path: hashlib.md5(str(path.name).encode()).digest())):
        place = Path(str(copy) + str(piece)[len(str(checkpoint_id)) :])
        place.parent.mkdir(parents=True, exist_ok=True)
        if piece.is_symlink():
            place.symlink_to(os.readlink(piece))
            continue
        if piece.is_dir():
            place.mkdir(exist_ok=True)
        else:
            shutil.copyfile(piece, place)
        moment = (FIRST_DAY + number * STRIDE % DAYS) * DAY
        os.utime(place, (moment, moment))
    return bool(pieces)


def _generators() -> dict[str, str]:
    states = {"random": repr(random.getstate()), "torch": repr(torch.get_rng_state().tolist())}
    if "numpy" in sys.modules:
        numpy: Any = sys.modules["numpy"]
        states["numpy.random"] = repr(
            [part.tolist() if hasattr(part, "tolist") else part for part in numpy.random.get_state()]
        )
    return states
