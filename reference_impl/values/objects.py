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


def load_object(stream: io.BytesIO, *, trusted: bool = True) -> Any:
    """Deserialise one object.

    Raises pickle.UnpicklingError where ``trusted`` is False and the object needs a class that is not a plain type.
    """
    if trusted:
        return torch.load(stream, map_location="cpu", weights_only=False)
    restricted: Any = types.ModuleType("reference_impl_restricted_pickle")
    restricted.__dict__.update(pickle.__dict__)
    restricted.Unpickler = _PlainUnpickler
    return torch.load(stream, map_location="cpu", weights_only=False, pickle_module=restricted)


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        module = "builtins" if module == "__builtin__" else module  # its name in the pickles that torch.save makes
        if name in _PLAIN.get(module, ()):
            return super().find_class(module, name)
        if module == "torch":
            found = getattr(torch, name, None)
            if isinstance(found, torch.dtype) or name.endswith("Storage"):
                return super().find_class(module, name)
        raise pickle.UnpicklingError(
            f"the object needs {module}.{name}, which is not a plain type; "
            "load it with trusted=True if the checkpoint comes from a trusted place"
        )
