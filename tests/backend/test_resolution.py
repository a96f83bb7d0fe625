"""Each way in which a name leads to a backend, and which one wins."""

from __future__ import annotations

import sys

import pytest

from dcp_conformance.harness.backend.record import PLANNERS, Backend
from dcp_conformance.harness.backend.resolve import describe
from tests.backend.authors import Author, pair

RECORD = """
from dcp_conformance.harness.backend.record import Backend
{name} = Backend(name="{title}", writer=Writer, reader=Reader)
"""


def test_torch_comes_through_the_same_door_with_all_that_it_supplies(author: Author) -> None:
    backend = author.resolves("torch.distributed.checkpoint")

    assert backend.owned_letters == frozenset("SEPFU")
    assert backend.offers == ("drop_in", "extensions")
    assert backend.writer.__name__ == "FileSystemWriter"
    assert {"dcp_to_torch_save", "HuggingFaceStorageWriter", *PLANNERS} <= set(backend.exports)


def test_the_control_pair_is_found_as_a_plain_module(author: Author) -> None:
    backend = author.resolves("dcp_conformance.harness.control")

    assert backend.owned_letters == {"S"}
    assert "torch_format" in backend.unsupported


def test_a_plain_module_with_one_pair_is_enough(author: Author) -> None:
    name = author.writes(pair("Blob"))

    backend = author.resolves(name)

    assert (backend.writer.__name__, backend.reader.__name__) == ("BlobWriter", "BlobReader")
    assert backend.owned_letters == {"S", "F"}
    assert backend.location == str(author.folder / f"{name}.py")


def test_writer_and_reader_win_over_other_classes(author: Author) -> None:
    name = author.writes(pair("Fast"), pair(), pair("Slow"))

    assert author.resolves(name).writer.__name__ == "Writer"


def test_a_default_pair_decides_between_several(author: Author) -> None:
    name = author.writes(pair("Fast"), pair("Slow"), 'DEFAULT_PAIR = ("SlowWriter", "SlowReader")')

    assert author.resolves(name).reader.__name__ == "SlowReader"


def test_all_decides_what_is_a_candidate(author: Author) -> None:
    name = author.writes(pair("Old"), pair("New"), '__all__ = ["NewWriter", "NewReader"]')

    assert author.resolves(name).writer.__name__ == "NewWriter"


def test_classes_that_were_only_imported_are_no_candidates(author: Author) -> None:
    imported = "from torch.distributed.checkpoint import FileSystemReader, FileSystemWriter"
    name = author.writes(imported, pair("My"))

    assert author.resolves(name).writer.__name__ == "MyWriter"


def test_classes_of_submodules_belong_to_the_package_that_shows_them(author: Author) -> None:
    name = author.writes("from ._impl import MyWriter, MyReader", file="{}/__init__.py")
    author.writes(pair("My"), name=name, file="{}/_impl.py")

    assert author.resolves(name).writer.__name__ == "MyWriter"


def test_a_record_in_the_attribute_backend_wins_over_classes(author: Author) -> None:
    name = author.writes(pair(), RECORD.format(name="backend", title="recorded"))

    assert author.resolves(name).name == "recorded"


def test_a_record_is_found_in_the_submodule_conformance(author: Author) -> None:
    name = author.writes(pair(), file="{}/__init__.py")
    author.writes(
        f"from {name} import Writer, Reader", RECORD.format(name="backend", title="beside"), name=name,
        file="{}/conformance.py",
    )  # fmt: skip

    assert author.resolves(name).name == "beside"


def test_an_attribute_names_one_of_several_records(author: Author) -> None:
    records = [RECORD.format(name=title, title=title) for title in ("first", "second")]
    name = author.writes(pair(), *records)

    assert author.resolves(f"{name}:second").name == "second"


def test_a_pair_can_be_named_class_by_class(author: Author) -> None:
    name = author.writes(pair("Fast"), pair("Slow"))

    backend = author.resolves(f"{name}:FastWriter,SlowReader")

    assert (backend.writer.__name__, backend.reader.__name__) == ("FastWriter", "SlowReader")
    assert backend.name == f"{name}:FastWriter,SlowReader"


@pytest.mark.parametrize("typed", ["{}.py", "./{}.py", "{}.py:OwnWriter,OwnReader"])
def test_a_path_to_a_file_is_a_backend(author: Author, typed: str) -> None:
    name = author.writes(pair("Own"))

    backend = author.resolves(typed.format(name))

    assert backend.writer.__name__ == "OwnWriter"
    assert backend.writer.__module__ == name, "importable by name, so that its objects can be pickled"


def test_a_file_inside_a_package_is_imported_as_part_of_it(author: Author) -> None:
    name = author.writes("", file="{}/__init__.py")
    author.writes("from ._impl import *", name=name, file="{}/storage.py")
    author.writes(pair("My"), '__all__ = ["MyWriter", "MyReader"]', name=name, file="{}/_impl.py")
    author.writes('__all__ = ["MyWriter", "MyReader"]', "from ._impl import *", name=name, file="{}/storage.py")

    assert author.resolves(f"{name}/storage.py").writer.__module__ == f"{name}._impl"


def test_a_file_that_another_module_hides_is_loaded_by_its_path(author: Author) -> None:
    author.writes(pair("My"), name="json")

    backend = author.resolves("./json.py")

    assert backend.writer.__name__ == "MyWriter"
    assert "cannot be pickled" in backend.notes[0]
    assert sys.modules["json"].__name__ == "json"


def test_an_entry_point_wins_over_a_module(author: Author) -> None:
    name = author.writes(pair("Plain"))
    target = author.writes(pair(), RECORD.format(name="chosen", title="by entry point"))
    author.writes("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n", file="theirs-1.dist-info/METADATA")
    author.writes(f"[dcp_conformance.backends]\n{name} = {target}:chosen\n", file="theirs-1.dist-info/entry_points.txt")
    sys.path.append(str(author.folder))

    backend = author.resolves(name)

    assert backend.name == "by entry point"
    assert backend.location == f"entry point {name} = {target}:chosen"


def test_the_current_folder_is_searched_last(author: Author) -> None:
    author.writes(pair("My"), name="colorsys")

    assert "nothing to test in colorsys" in author.is_refused("colorsys")
    assert sys.path[-1] == str(author.folder)


def test_functions_with_the_signatures_of_dcp_are_the_engine(author: Author) -> None:
    name = author.writes(
        pair("My"),
        "def save(state_dict, *, checkpoint_id=None, storage_writer=None): ...",
        "def load(state_dict, **kwargs): ...",
        "def async_save(state_dict, path): ...",
    )

    backend = author.resolves(name)

    assert backend.owned_letters == {"S", "E", "F"}
    assert backend.async_save is None
    assert backend.notes == (
        "async_save is exported, but is not DCP's: it takes no checkpoint_id and no storage_writer",
    )


def test_functions_of_torch_that_a_module_passes_on_are_torchs(author: Author) -> None:
    exported = '__all__ = ["MyWriter", "MyReader", "save", "load"]'
    name = author.writes("from torch.distributed.checkpoint import load, save", pair("My"), exported)

    assert author.resolves(name).save is None


def test_an_engine_that_was_made_elsewhere_is_the_engine_of_the_module_that_has_it(author: Author) -> None:
    made = "import functools\nfrom dcp_conformance import reference_impl\nsave = functools.partial(reference_impl.save)"
    planner = "from dcp_conformance.reference_impl import load, DefaultSavePlanner"
    backend = author.resolves(author.writes(pair("My"), made, planner))

    assert (backend.save.func.__module__, backend.load.__module__) == (
        "dcp_conformance.reference_impl.engine.save",
        "dcp_conformance.reference_impl.engine.load",
    )
    assert list(backend.utilities) == ["DefaultSavePlanner"]


def test_writer_and_reader_by_these_names_are_the_pair_wherever_they_were_made(author: Author) -> None:
    made = "from torch.distributed.checkpoint import FileSystemWriter as Writer, FileSystemReader as Reader"
    backend = author.resolves(author.writes(made))

    assert backend.writer.__name__ == "FileSystemWriter"


def test_an_engine_with_a_store_of_its_own_needs_no_pair(author: Author) -> None:
    name = author.writes(
        "def save(state_dict, *, checkpoint_id): ...",
        "def load(state_dict, *, checkpoint_id): ...",
    )

    backend = author.resolves(name)

    assert backend.owned_letters == {"E"}
    assert set(backend.unsupported) == {"async_save", "async_process"}


def test_a_pair_of_handles_beside_an_engine_is_no_storage(author: Author) -> None:
    name = author.writes(
        "from dcp_conformance.harness.backend.record import Backend",
        "class Handle:",
        "    def __init__(self, path): self.path = path",
        "def save(state_dict, *, checkpoint_id): ...",
        "def load(state_dict, *, checkpoint_id): ...",
        "backend = Backend(name='handles', writer=Handle, reader=Handle, save=save, load=load)",
    )

    backend = author.resolves(name)

    assert backend.owned_letters == {"E"}
    assert "no write_data" in backend.notes[-1]


def test_planners_and_converters_under_torchs_names_are_the_modules(author: Author) -> None:
    name = author.writes(
        pair("My"),
        "from torch.distributed.checkpoint import LoadPlanner, SavePlanner",
        "class DefaultSavePlanner(SavePlanner): ...",
        "class DefaultLoadPlanner(LoadPlanner): ...",
        file="{}/__init__.py",
    )
    author.writes("def dcp_to_torch_save(source, target): ...", name=name, file="{}/format_utils.py")

    backend = author.resolves(name)

    assert backend.exports == ("DefaultLoadPlanner", "DefaultSavePlanner", "dcp_to_torch_save")
    assert {"P", "U"} <= backend.owned_letters


def test_unsupported_and_offers_of_a_plain_module_are_read(author: Author) -> None:
    name = author.writes(pair("My"), 'UNSUPPORTED = {"torch_format": " a format of our own "}', 'OFFERS = ["drop_in"]')

    backend = author.resolves(name)

    assert backend.unsupported == {"torch_format": "a format of our own"}
    assert backend.offers == ("drop_in",)
    assert backend.owned_letters == {"S"}


def test_a_writer_that_writes_with_torchs_own_code_offers_extensions(author: Author) -> None:
    name = author.writes(
        "from torch.distributed.checkpoint import FileSystemReader, FileSystemWriter",
        "class MyWriter(FileSystemWriter): ...",
        "class MyReader(FileSystemReader):",
        "    def read_data(self, plan, planner): ...",
    )

    backend = author.resolves(name)
    description = describe(backend, name)

    assert backend.offers == ("extensions",)
    assert {"writer.write_data", "writer.finish", "reader.read_metadata"} <= set(description.inherits)
    assert "reader.read_data" not in description.inherits


def test_a_description_is_plain_data(author: Author) -> None:
    import json
    import pickle
    from dataclasses import asdict

    description = describe(author.resolves("torch.distributed.checkpoint"), "torch.distributed.checkpoint")

    assert pickle.loads(pickle.dumps(description)) == description
    assert json.loads(json.dumps(asdict(description)))["letters"] == list("SEPFU")
    assert description.inherits == ()


def test_a_record_by_hand_owns_what_it_names() -> None:
    backend = Backend(name="engine", save=print, load=print)

    assert backend.owned_letters == {"E"}
    assert backend.option_sets == ({},)
