"""A transparent stand-in for a writer or reader: it is seen as the real object, and its interface calls are tapped.

Composition, not inheritance and not patching: calls that the real object makes to itself are its own business and are
not tapped; `isinstance`, truth value, length, signatures, attributes and pickling are those of the real object, because
engines look at all of them (torch checks `isinstance(writer, AsyncStager)`, the truth value of a writer, and whether
`set_up_storage_writer` has a parameter named kwargs).

What it cannot see: `type(proxy)`, which engines have no reason to ask, and calls made through a reference to the inner
object that a backend keeps elsewhere.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Protocol


class Tap(Protocol):
    """Sees every tapped call; must be picklable, because engines send writers to other processes."""

    def call(self, method: str, inner: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Perform `inner(*args, **kwargs)` or something else in its place, and return what the caller gets."""


# Python looks these up on the type for its own bookkeeping, or the proxy must define them itself.
_OWN = frozenset({
    "__class__", "__new__", "__init__", "__init_subclass__", "__subclasshook__", "__getattribute__", "__getattr__",
    "__setattr__", "__delattr__", "__dict__", "__weakref__", "__slots__", "__module__", "__doc__", "__reduce__",
    "__reduce_ex__", "__getstate__", "__setstate__", "__abstractmethods__", "__annotations__", "__parameters__",
    "__orig_bases__", "__class_getitem__", "__dir__", "__sizeof__", "__static_attributes__", "__firstlineno__",
    "__del__", "__copy__", "__deepcopy__", "__match_args__", "__annotate__", "__annotate_func__",
    "__annotations_cache__", "__protocol_attrs__", "__non_callable_proto_members__",
})  # fmt: skip


def interpose(inner: object, methods: tuple[str, ...], tap: Tap) -> Any:
    """Return a proxy of `inner` whose `methods` go through `tap`; everything else is forwarded untouched."""
    kind: Any = type(inner)
    return _proxy_class(kind, methods)(inner, methods, tap)


@functools.lru_cache(maxsize=256)
def _proxy_class(kind: Any, methods: tuple[str, ...]) -> type:
    # Of the type, once: engines ask types for methods, and instances cannot have special ones.
    names = [name for name in dir(kind) if name not in _OWN and name not in methods]
    body: dict[str, Any] = {name: _forwarded(name) for name in names}
    body.update({name: _tapped(name) for name in methods if hasattr(kind, name)})
    # What `isinstance` asks after the type itself.
    body["__class__"] = property(lambda self: type(object.__getattribute__(self, "_proxied")))
    return type(f"proxy of {kind.__name__}", (_Proxy,), body)


def _forwarded(name: str) -> Any:
    if name.startswith("__") and name.endswith("__"):
        # Python calls special methods on the type, so each that the real type has needs a method here, and no others.
        return lambda self, *args, **kwargs: getattr(object.__getattribute__(self, "_proxied"), name)(*args, **kwargs)
    return property(
        lambda self: getattr(object.__getattribute__(self, "_proxied"), name),
        lambda self, value: setattr(object.__getattribute__(self, "_proxied"), name, value),
        lambda self: delattr(object.__getattribute__(self, "_proxied"), name),
    )


def _tapped(name: str) -> Any:
    def method(self: Any) -> Callable[..., Any]:
        inner = getattr(object.__getattribute__(self, "_proxied"), name)
        tap = object.__getattribute__(self, "_tap")

        # functools.wraps keeps the signature: an engine passes `rank` only to methods that say they take it.
        @functools.wraps(inner)
        def through_tap(*args: Any, **kwargs: Any) -> Any:
            return tap.call(name, inner, args, kwargs)

        return through_tap

    return property(method)


class _Proxy:
    """What all proxies share: where the real object is, and how attributes and pickling reach it."""

    def __init__(self, inner: object, methods: tuple[str, ...], tap: Tap) -> None:
        # Past our own __setattr__, which writes to the real object.
        object.__setattr__(self, "_proxied", inner)
        object.__setattr__(self, "_methods", methods)
        object.__setattr__(self, "_tap", tap)

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "_proxied"), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(object.__getattribute__(self, "_proxied"), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(object.__getattribute__(self, "_proxied"), name)

    def __reduce_ex__(self, protocol: Any) -> Any:
        read = object.__getattribute__
        # A new proxy in the other process: the class of this one was made here and has no name to be found by.
        return interpose, (read(self, "_proxied"), read(self, "_methods"), read(self, "_tap"))
