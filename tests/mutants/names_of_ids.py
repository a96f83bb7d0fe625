"""Bugs of stores that read more into a name than it says, or less: of checkpoints, and of their keys."""

from __future__ import annotations

import shutil
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from torch.distributed.checkpoint.metadata import BytesStorageMetadata

from dcp_conformance.harness import control
from dcp_conformance.harness.backend.record import Backend
from tests.mutants.making import storage

BREAKS = {
    "takes_ids_for_templates": ("API-25",),
    "folds_the_case_of_ids": ("FIN-14",),
    "knows_ids_by_a_normal_form": ("FIN-14",),
    "cuts_ids": ("FIN-14",),
    "strips_ids": ("FIN-14",),
    "decodes_ids": ("FIN-14",),
    "stages_beside_the_id": ("FIN-14",),
    "folds_the_case_of_objects": ("WRITE-01",),
    "strips_the_names_of_objects": ("WRITE-01",),
    "resolves_the_names_of_objects": ("WRITE-01",),
}


class _TemplateWriter(control.Writer):
    """Lets an id say where the rank goes, whether or not it means to."""

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        self._root = Path(str(self._root).format(rank=kwargs.get("rank")))
        super().set_up_storage_writer(is_coordinator, *args, **kwargs)


takes_ids_for_templates = storage("takes_ids_for_templates", writer=_TemplateWriter)


def _folding(name: str, fold: Callable[[str], str]) -> Backend:
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
        kind = type(f"_{name}_{part.__name__}", (part,), {"__init__": made, "reset": reset, "__module__": __name__})
        globals()[kind.__name__] = pair[part.__name__.lower()] = kind  # under its name, so that it can be pickled
    return storage(name, **pair)


folds_the_case_of_ids = _folding("folds_the_case_of_ids", str.lower)
knows_ids_by_a_normal_form = _folding("knows_ids_by_a_normal_form", lambda name: unicodedata.normalize("NFC", name))
cuts_ids = _folding("cuts_ids", lambda name: name[:100])
strips_ids = _folding("strips_ids", lambda name: name.rstrip(" ."))
decodes_ids = _folding("decodes_ids", lambda name: unquote(name).replace("/", "_"))


class _Staging(control.Writer):
    """Commits in a folder beside the id, whose name it takes to be its own."""

    def finish(self, metadata: Any, results: Any) -> None:
        stage = self._root.with_name(f"{self._root.name}.tmp")
        shutil.rmtree(stage, ignore_errors=True)
        stage.mkdir()
        super().finish(metadata, results)
        shutil.rmtree(stage)


stages_beside_the_id = storage("stages_beside_the_id", writer=_Staging)


def _folding_objects(name: str, fold: Callable[[str], str]) -> Backend:
    """A storage that finds an object, and not a tensor, by another name than its key; the last of its like is there."""

    def finish(self: Any, metadata: Any, results: Any) -> None:
        kinds = metadata.state_dict_metadata

        def known(one: Any) -> Any:
            return fold(one.index.fqn) if isinstance(kinds.get(one.index.fqn), BytesStorageMetadata) else one.index

        names = {known(one): one.storage_data for rank in results for one in rank}
        found = [[replace(one, storage_data=names[known(one)]) for one in rank] for rank in results]
        control.Writer.finish(self, metadata, found)

    kind = type(f"_{name}", (control.Writer,), {"finish": finish, "__module__": __name__})
    globals()[kind.__name__] = kind
    return storage(name, writer=kind)


folds_the_case_of_objects = _folding_objects("folds_the_case_of_objects", str.casefold)
strips_the_names_of_objects = _folding_objects("strips_the_names_of_objects", lambda name: name.strip(" ."))
resolves_the_names_of_objects = _folding_objects("resolves_the_names_of_objects", lambda name: str(Path("/", name)))
