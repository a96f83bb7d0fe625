"""Objects (everything that is not a tensor) as bytes and back.

An object entry is a pickle. By default it is loaded as torch does, with every class that can be imported: then a
checkpoint can run code, and must come from a trusted place. With ``trusted=False`` only the types below are accepted;
anything else is refused by name. A list of "dangerous" functions would be no protection, so there is none.
"""

from __future__ import annotations

import io
import pickle
import types
from typing import Any

import torch

from dcp_conformance.reference_impl.errors import UnreadableObjectError
from dcp_conformance.reference_impl.values.pickle_bounds import bounded, require_bounded

_PLAIN: dict[str, frozenset[str]] = {
    "builtins": frozenset({"complex", "frozenset", "set", "bytearray", "slice", "range", "int", "float", "bool", "str",
                           "bytes", "list", "dict", "tuple"}),
    "collections": frozenset({"OrderedDict", "deque", "Counter", "defaultdict"}),
    "datetime": frozenset({"datetime", "date", "time", "timedelta", "timezone"}),
    "decimal": frozenset({"Decimal"}),
    "fractions": frozenset({"Fraction"}),
    "uuid": frozenset({"UUID"}),
    "_codecs": frozenset({"encode"}),
    "_io": frozenset({"BytesIO"}),
    "io": frozenset({"BytesIO"}),
    "torch": frozenset({"device", "Size"}),
    "torch.serialization": frozenset({"_get_layout"}),
    "torch._utils": frozenset({"_rebuild_tensor_v2", "_rebuild_tensor_v3", "_rebuild_parameter"}),
    "torch.storage": frozenset({"UntypedStorage", "TypedStorage"}),
    "torch.nn.parameter": frozenset({"Parameter"}),
}  # fmt: skip


#: Containers that are made of the elements which they are given.
_CONTAINERS = frozenset({"set", "frozenset", "list", "tuple", "OrderedDict", "deque", "Counter", "bytes", "bytearray"})


def load_object(name: str, stream: io.BytesIO, *, trusted: bool = True) -> Any:
    """Deserialise the object that is stored under ``name``.

    Raises:
        pickle.UnpicklingError: where ``trusted`` is False and the object needs a class that is not a plain type.
        UnreadableObjectError: for bytes that give no object, whatever that fails with.
    """
    restricted: Any = None
    if not trusted:
        restricted = types.ModuleType("reference_impl_restricted_pickle")
        restricted.__dict__.update(pickle.__dict__)
        restricted.Unpickler = _PlainUnpickler
        restricted.load = lambda file, **options: _PlainUnpickler(file, **options).load()  # files before torch 1.6
    try:
        return torch.load(stream, map_location="cpu", weights_only=False, pickle_module=restricted)
    except _RefusedError as refused:
        raise pickle.UnpicklingError(f"{name!r} {refused}") from None
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UnreadableObjectError(f"the object {name!r} cannot be read ({reason})") from error


class _RefusedError(pickle.UnpicklingError):
    """An object needs a class that is not a plain type."""


class _PlainUnpickler(pickle.Unpickler):
    def __init__(self, file: Any, **options: Any) -> None:
        start = file.tell()
        data = file.read()
        size = require_bounded(data)
        file.seek(start + size)  # another pickle may follow
        super().__init__(io.BytesIO(data[:size]), **options)

    def find_class(self, module: str, name: str) -> Any:
        module = "builtins" if module == "__builtin__" else module  # its name in the pickles that torch.save makes
        if name in _PLAIN.get(module, ()):
            found = super().find_class(module, name)
            return bounded(found) if name in _CONTAINERS else found
        if module == "torch":
            found = getattr(torch, name, None)
            if isinstance(found, torch.dtype) or name.endswith("Storage"):
                return super().find_class(module, name)
        raise _RefusedError(
            f"needs {module}.{name}, which is not a plain type; "
            "load it with trusted=True if the checkpoint comes from a trusted place"
        )
