"""``--backend-option key=value``: text from the command line becomes keyword arguments of the writer."""

from __future__ import annotations

import difflib
import enum
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from dcp_conformance.harness.errors import UsageError

_WORDS: Mapping[str, bool | None] = {"true": True, "false": False, "none": None}


def parse_options(writer: Callable[..., Any] | None, options: Mapping[str, str], reference: str) -> dict[str, Any]:
    """Return the keyword arguments for ``writer``; UsageError names its parameters where one does not exist.

    A value is a boolean, None, an int or a float where it reads like one, else text. A parameter whose default or
    annotation is text keeps it as text; one whose default is an Enum member takes a member's name.
    """
    if not options:
        return {}
    parameters = _parameters(writer, reference)
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    # The first parameter is the checkpoint id, which the harness gives.
    known = {name: p for name, p in list(parameters.items())[1:] if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}
    for key in options:
        if key in list(parameters)[:1] or not key.isidentifier() or (key not in known and not takes_any):
            raise UsageError(_unknown(key, list(known), reference))
    return {key: _value(text, known.get(key), key) for key, text in options.items()}


def _parameters(writer: Callable[..., Any] | None, reference: str) -> Mapping[str, inspect.Parameter]:
    if writer is None:
        raise UsageError(f"--backend-option: {reference} has no writer of its own, so there is nothing to give it to.")
    try:
        return inspect.signature(writer).parameters
    except (TypeError, ValueError):
        raise UsageError(
            f"--backend-option: the writer of {reference} does not say what it takes (it has no signature)."
        ) from None


def _unknown(key: str, known: list[str], reference: str) -> str:
    near = difflib.get_close_matches(key, known, n=2)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    takes = f"It takes: {', '.join(known)}." if known else "It takes no options."
    return f"--backend-option {key}=...: the writer of {reference} has no option {key!r}.{hint} {takes}"


def _value(text: str, parameter: inspect.Parameter | None, key: str) -> Any:
    default = parameter.default if parameter is not None else inspect.Parameter.empty
    if isinstance(default, enum.Enum):
        return _member(type(default), text, key)
    if isinstance(default, str) or (parameter is not None and _is_text(parameter.annotation)):
        return text
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    for convert in (int, float):
        try:
            return convert(text)
        except ValueError:
            continue  # not a number of this kind: the next one, and at last plain text
    return text


def _member(kind: type[enum.Enum], text: str, key: str) -> enum.Enum:
    for member in kind:
        if text.lower() in (member.name.lower(), str(member.value).lower()):
            return member
    names = ", ".join(member.name for member in kind)
    raise UsageError(f"--backend-option {key}={text}: {key} is one of {names}.")


def _is_text(annotation: object) -> bool:
    words = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
    return words.replace(" ", "") in {"str", "str|None", "None|str", "Optional[str]"}
