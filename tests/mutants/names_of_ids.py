"""Bugs of stores that read more into a name than it says, or less: of checkpoints, and of their keys."""

from __future__ import annotations

import shutil
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from torch.distributed.checkpoint.metadata import BytesStorageMetadata

from dcp_conformance.harness import control
from dcp_conformance.harness.backend.record import Backend
from tests.mutants.making import storage


class _TemplateWriter(control.Writer):
    """Lets an id say where the rank goes, whether or not it means to."""

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        self._root = Path(str(self._root).format(rank=kwargs.get("rank")))
        super().set_up_storage_writer(is_coordinator, *args, **kwargs)


takes_ids_for_templates = storage(breaks=["API-25"], writer=_TemplateWriter)


def _class(base: type, body: dict[str, Any]) -> Any:
    """A class that this module holds under its name, so that it can be pickled."""
    name = f"_{base.__name__}{len(globals())}"
    globals()[name] = type(name, (base,), {**body, "__module__": __name__})
    return globals()[name]


def _folding(fold: Callable[[str], str], *, breaks: Sequence[str]) -> Backend:
    """A storage that finds a checkpoint by another name than that of its id."""

    def place(checkpoint_id: Any) -> Path:
        path = Path(Path.cwd(), checkpoint_id)
        return path.parent / fold(path.name)

    def made(self: Any, checkpoint_id: Any) -> None:
        type(self).__mro__[1].__init__(self, place(checkpoint_id))  # type: ignore[misc]

    def reset(self: Any, checkpoint_id: Any = None) -> None:
        type(self).__mro__[1].reset(self, place(checkpoint_id) if checkpoint_id else None)  # type: ignore[attr-defined]

    pair = {}
    for part in (control.Writer, control.Reader):
        pair[part.__name__.lower()] = _class(part, {"__init__": made, "reset": reset})
    return storage(breaks=breaks, **pair)


folds_the_case_of_ids = _folding(str.lower, breaks=["FIN-14"])
knows_ids_by_a_normal_form = _folding(lambda name: unicodedata.normalize("NFC", name), breaks=["FIN-14"])
cuts_ids = _folding(lambda name: name[:100], breaks=["FIN-14"])
strips_ids = _folding(lambda name: name.rstrip(" ."), breaks=["FIN-14"])
decodes_ids = _folding(lambda name: unquote(name).replace("/", "_"), breaks=["FIN-14"])


class _Staging(control.Writer):
    """Commits in a folder beside the id, whose name it takes to be its own."""

    def finish(self, metadata: Any, results: Any) -> None:
        stage = self._root.with_name(f"{self._root.name}.tmp")
        shutil.rmtree(stage, ignore_errors=True)
        stage.mkdir()
        super().finish(metadata, results)
        shutil.rmtree(stage)


stages_beside_the_id = storage(breaks=["FIN-14"], writer=_Staging)


def _folding_objects(fold: Callable[[str], str], *, breaks: Sequence[str]) -> Backend:
    """A storage that finds an object, and not a tensor, by another name than its key; the last of its like is there."""

    def finish(self: Any, metadata: Any, results: Any) -> None:
        kinds = metadata.state_dict_metadata

        def known(one: Any) -> Any:
            return fold(one.index.fqn) if isinstance(kinds.get(one.index.fqn), BytesStorageMetadata) else one.index

        names = {known(one): one.storage_data for rank in results for one in rank}
        found = [[replace(one, storage_data=names[known(one)]) for one in rank] for rank in results]
        control.Writer.finish(self, metadata, found)

    return storage(breaks=breaks, writer=_class(control.Writer, {"finish": finish}))


folds_the_case_of_objects = _folding_objects(str.casefold, breaks=["WRITE-01"])
strips_the_names_of_objects = _folding_objects(lambda name: name.strip(" ."), breaks=["WRITE-01"])
resolves_the_names_of_objects = _folding_objects(lambda name: str(Path("/", name)), breaks=["WRITE-01"])
