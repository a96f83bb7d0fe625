"""The Backend record: what is under test, as data and callables. It is no base class and knows no test."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dcp_conformance.harness.backend.blobs import Blobs, FileBlobs, discard_path, file_blobs, path_below
from dcp_conformance.harness.backend.capabilities import CAPABILITIES, OFFERS, check_offers, check_unsupported
from dcp_conformance.harness.backend.object_store import ObjectStore
from dcp_conformance.harness.contract import FUNCTIONS
from dcp_conformance.harness.errors import UsageError

__all__ = ["CAPABILITIES", "OFFERS", "PLANNERS", "UTILITIES", "Backend", "Blobs", "FileBlobs"]

# Names of torch.distributed.checkpoint by which a module supplies the default planners, and by which it supplies
# a replacement of a class or helper that the U clauses bind.
# With more a rank could stand still for longer than a run is to last.
MOST_PATIENCE = 10
PLANNERS = frozenset({"DefaultSavePlanner", "DefaultLoadPlanner"})
UTILITIES = frozenset(
    {
        "dcp_to_torch_save",
        "torch_save_to_dcp",
        "BroadcastingTorchSaveReader",
        "DynamicMetaLoadPlanner",
        "HuggingFaceStorageWriter",
        "HuggingFaceStorageReader",
        "FsspecWriter",
        "FsspecReader",
        "Metadata",
        "MetadataIndex",
        "ChunkStorageMetadata",
        "TensorStorageMetadata",
        "BytesStorageMetadata",
        "TensorProperties",
        "find_state_dict_object",
        "get_state_dict",
        "set_state_dict",
        "get_model_state_dict",
        "set_model_state_dict",
        "get_optimizer_state_dict",
        "set_optimizer_state_dict",
        "DefaultStager",
        "StateDictStager",
        "_assert_same_keys",
        "_load_state_dict_from_keys",
        "_DistWrapper",
        "_ReaderView",
        "_Checkpointer",
        "save_state_dict",
        "load_state_dict",
        "traverse_state_dict",
        "set_element",
        "get_element",
    }
)


@dataclass(frozen=True, kw_only=True)
class Backend:
    """A ``StorageWriter``/``StorageReader`` pair, with or without an engine (``save``, ``load``, ``async_save``).

    Only the pair is needed, or ``save`` and ``load``:

        backend = Backend(writer=MyWriter, reader=MyReader)

    ``writer(checkpoint_id, **options)`` and ``reader(checkpoint_id)`` are classes or functions of one positional
    argument. Raises UsageError for half a pair, an unknown capability or offer, or a reason left out.
    """

    # What reports call it; without one, as `--backend` names it.
    name: str = ""
    version: str = "unknown"
    writer: Callable[..., Any] | None = None
    reader: Callable[..., Any] | None = None
    save: Callable[..., Any] | None = None
    load: Callable[..., Any] | None = None
    async_save: Callable[..., Any] | None = None
    # (scratch folder, name) -> checkpoint id; the name is unique within the run.
    new_checkpoint_id: Callable[[str, str], str] = path_below
    # Raises LookupError where the stored bytes cannot be reached (the default, for an id that is not a path).
    blobs: Callable[[str], Blobs] = file_blobs
    # A result of False: the checkpoint was left where it is, and the certificate lists it.
    discard: Callable[[str], bool | None] = discard_path
    # Starts what the backend needs (a server) and returns the environment variables that ranks need to find it.
    start: Callable[[], Mapping[str, str] | None] | None = None
    stop: Callable[[], None] | None = None
    # Whether the store still answers, asked before a failure counts; without it a small checkpoint tells.
    alive: Callable[[], bool] | None = None
    # An object store with its server: stands for all of the above that is not given, and for local_files.
    store: ObjectStore | None = None
    # Capability -> the reason why the backend does not have it.
    unsupported: Mapping[str, str] = field(default_factory=dict)
    offers: tuple[str, ...] = ()
    # Settings of the writer that it documents, each a certified way to use it; none means ({},).
    option_sets: tuple[Mapping[str, Any], ...] = ()
    # Multiplies the limits after which a hang is declared, for a store that retries; at most MOST_PATIENCE.
    patience: float = 1.0
    # Planners and utilities that the backend supplies under torch's own names.
    utilities: Mapping[str, Any] = field(default_factory=dict)
    # File or entry point that it was found in; filled in by discovery.
    location: str = ""
    # What discovery saw and the certificate should say.
    notes: tuple[str, ...] = ()
    # Found in a module that knows nothing of this project: nobody claimed anything for it.
    plain: bool = False
    # Given with --backend-option; already part of `writer`.
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        where = f"Backend {self.name!r}" if self.name else "This Backend"
        if self.store is not None:
            _take_store(self, self.store)
        if not isinstance(self.name, str):
            raise UsageError(f"The name of a Backend is text; it is {self.name!r}.")
        _check_parts(self, where)
        if not isinstance(self.patience, (int, float)) or not 0 < self.patience <= MOST_PATIENCE:
            raise UsageError(
                f"{where}: patience must be a number above 0 and at most {MOST_PATIENCE}; it is {self.patience!r}."
            )
        opted_out = check_unsupported(self.unsupported, f"{where}: unsupported")
        object.__setattr__(self, "unsupported", {**_left_out(self), **opted_out})
        object.__setattr__(self, "offers", check_offers(self.offers, f"{where}: offers"))
        object.__setattr__(self, "option_sets", _option_sets(self.option_sets, where))
        both = sorted(set(self.offers) & set(self.unsupported))
        if both:
            raise UsageError(f"{where} both offers {both[0]!r} and opts out of it. Keep one of the two.")

    @property
    def exports(self) -> tuple[str, ...]:
        """Names of torch.distributed.checkpoint's planners and utilities that the backend supplies itself."""
        return tuple(sorted(self.utilities))

    @property
    def functions(self) -> tuple[str, ...]:
        """Which of save, load and async_save it exports; the others are torch's."""
        return tuple(name for name in FUNCTIONS if getattr(self, name) is not None)

    def completed(self, other: Backend) -> Backend:
        """Return this record with `other`'s functions in place of those of save and load that it lacks.

        A record that has both is whole: who exports an engine and no async_save has none.
        """
        if self.save is not None and self.load is not None:
            return self
        lacking = {name: getattr(other, name) for name in FUNCTIONS if name not in self.functions}
        return dataclasses.replace(self, **lacking)

    @property
    def owned_letters(self) -> frozenset[str]:
        """What the backend supplies: S storage, E engine or a part of it, P planner, F torch's format, U utilities."""
        storage = self.writer is not None and self.reader is not None
        letters = {
            "S": storage,
            "E": bool(self.functions),
            "P": set(self.utilities) >= PLANNERS,
            "F": storage and "torch_format" not in self.unsupported,
            "U": bool(UTILITIES & set(self.utilities)),
        }
        return frozenset(letter for letter, owned in letters.items() if owned)


def _option_sets(given: object, where: str) -> tuple[Mapping[str, Any], ...]:
    sets = tuple(given) if isinstance(given, (list, tuple)) else None
    if sets is None or not all(isinstance(item, Mapping) and all(map(_is_name, item)) for item in sets):
        raise UsageError(
            f'{where}: option_sets must be settings of the writer, for example ({{}}, {{"sync": True}}); it is '
            f"{given!r}."
        )
    return sets or ({},)


def _is_name(word: object) -> bool:
    return isinstance(word, str) and word.isidentifier()


def _take_store(backend: Backend, store: ObjectStore) -> None:
    defaults = {"new_checkpoint_id": path_below, "blobs": file_blobs, "discard": discard_path}
    for name in (*defaults, "start", "stop", "alive"):
        if getattr(backend, name) is defaults.get(name):
            object.__setattr__(backend, name, getattr(store, name, None))
    reason = {"local_files": "it keeps its checkpoints in an object store"}
    object.__setattr__(backend, "unsupported", {**reason, **backend.unsupported})


def _left_out(backend: Backend) -> dict[str, str]:
    """Capabilities that an engine lacks because it has no async_save: torch's is no part of it."""
    if backend.save is None or backend.load is None or backend.async_save is not None:
        return {}
    return dict.fromkeys(("async_save", "async_process"), "its engine has save and load, and no async_save")


def _check_parts(backend: Backend, where: str) -> None:
    if (backend.writer is None) != (backend.reader is None):
        there, missing = ("reader", "writer") if backend.writer is None else ("writer", "reader")
        raise UsageError(f"{where} has a {there} but no {missing}. A checkpoint needs both.")
    if backend.writer is None and (backend.save is None or backend.load is None):
        raise UsageError(f"{where} has nothing to test. Give it writer and reader, or save and load, or all four.")
    optional = ("writer", "reader", "save", "load", "async_save", "start", "stop", "alive")
    for part in (*optional, "new_checkpoint_id", "blobs", "discard"):
        value = getattr(backend, part)
        if not callable(value) and not (value is None and part in optional):
            raise UsageError(f"{where}: {part} must be callable; it is {value!r}.")
