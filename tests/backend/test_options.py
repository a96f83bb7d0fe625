"""`--backend-option key=value` becomes keyword arguments of the writer."""

from __future__ import annotations

import pytest

from tests.backend.authors import Author, pair


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("threads", "4", 4),
        ("threads", "none", None),
        ("sync", "False", False),
        ("ratio", "1e-3", 0.001),
        ("ratio", "fast", "fast"),
        ("label", "17", "17"),
    ],
)
def test_a_value_is_read_as_the_parameter_asks(author: Author, key: str, text: str, value: object) -> None:
    backend = author.resolves(author.writes(pair("My")), **{key: text})

    writer = backend.writer("id")

    assert value in writer.settings
    assert backend.options == {key: value}


def test_a_member_of_an_enum_is_given_by_its_name(author: Author) -> None:
    backend = author.resolves("torch.distributed.checkpoint", serialization_format="safetensors")

    assert backend.options["serialization_format"].name == "SAFETENSORS"
    refusal = author.is_refused("torch.distributed.checkpoint", serialization_format="zip")
    assert refusal.endswith("=zip: serialization_format is one of TORCH_SAVE, SAFETENSORS.")


def test_an_unknown_option_names_what_the_writer_takes(author: Author) -> None:
    name = author.writes(pair("My"))

    assert author.is_refused(name, thread="4") == (
        f"--backend-option thread=...: the writer of {name} has no option 'thread'. Did you mean threads? "
        "It takes: threads, sync, label, ratio."
    )


def test_the_checkpoint_id_is_not_an_option(author: Author) -> None:
    assert "has no option 'checkpoint_id'" in author.is_refused(author.writes(pair("My")), checkpoint_id="x")


def test_an_option_needs_a_writer(author: Author) -> None:
    name = author.writes("def save(state_dict, *, checkpoint_id): ...", "def load(state_dict, *, checkpoint_id): ...")

    assert "has no writer of its own" in author.is_refused(name, threads="4")
