from __future__ import annotations

import copy
import json

import pytest

from dcp_conformance.harness.certificate.schema import SCHEMA, validate
from tests.certificate.samples import eventful

WHOLE = eventful()


def places(data, path=()):
    """Every (path, container, name) below `data`: where a field could be missing, unknown, or of a wrong type."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for name, value in items:
        yield (*path, name)
        yield from places(value, (*path, name))


def at(data, path):
    for name in path:
        data = data[name]
    return data


# Tables with free names: leaving one out is no problem.
FREE = ("options", "backend_options", "evidence", "unsupported")


@pytest.mark.parametrize("given", [None, [], {}, {"schema": "dcp-conformance/certificate"}, "text"])
def test_what_is_not_marked_is_no_certificate(given):
    assert validate(given) == [f"certificate: not marked as {SCHEMA!r}"]


@pytest.mark.parametrize(("number", "age"), [(1, "an older"), (99, "a newer")])
def test_a_certificate_of_another_schema_is_refused_by_a_sentence(number, age):
    [problem] = validate({"schema": f"dcp-conformance/certificate/{number}"})
    assert problem.startswith(f"certificate: written by {age} dcp-conformance")


def test_no_field_may_be_missing():
    for path in places(WHOLE):
        if isinstance(path[-1], str) and path[-1] != "schema" and (len(path) < 2 or path[-2] not in FREE):
            changed = copy.deepcopy(WHOLE)
            del at(changed, path[:-1])[path[-1]]
            assert any(f"the field {path[-1]!r} is missing" in problem for problem in validate(changed)), path


def test_no_field_may_be_unknown():
    for path in [(), *places(WHOLE)]:
        if isinstance(at(WHOLE, path), dict) and (not path or path[-1] not in FREE):
            changed = copy.deepcopy(WHOLE)
            at(changed, path)["surplus"] = "x"
            assert any("the field 'surplus' is unknown" in problem for problem in validate(changed)), path


def test_no_value_may_be_of_another_type():
    for path in places(WHOLE):
        changed = copy.deepcopy(WHOLE)
        at(changed, path[:-1])[path[-1]] = {"not": [object]}
        assert validate(changed), path


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("run", "seed"), True, "must be a whole number"),
        (("run", "strict"), 1, "must be true or false"),
        (("backend", "patience"), float("nan"), "must be finite"),
        (("run", "ended"), "yesterday", "must be a moment"),
        (("run", "ended"), "2026-11-22T10:00:00+02:00", "must be in UTC"),
        (("levels", 0, "state"), "fine", "must be one of held, lost, not decided, not run"),
        (("known_failures", 0, "expires"), "soon", "must be a day"),
        (("leftovers", 0), "\udcff", "lone surrogate"),
        (("not_exercised",), ["B-01", "A-01"], "not_exercised[1]: out of order"),
        (("not_exercised",), ["A-01", "A-01"], "not_exercised[1]: out of order or there twice"),
    ],
)
def test_values_are_checked(path, value, said):
    changed = copy.deepcopy(WHOLE)
    at(changed, path[:-1])[path[-1]] = value
    assert any(said in problem for problem in validate(changed))


def test_json_keeps_a_certificate_valid():
    assert validate(json.loads(json.dumps(WHOLE))) == []
