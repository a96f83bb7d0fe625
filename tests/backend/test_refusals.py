"""Every message for a name that cannot be used: what was tried, what is wrong, what to do."""

from __future__ import annotations

import pytest

from tests.backend.authors import Author, pair


def test_an_unknown_name_says_what_was_tried_and_what_is_near(author: Author) -> None:
    author.writes(pair(), name="theirs_storage")

    text = author.is_refused("theirs_storag")

    assert text.startswith("--backend=theirs_storag: there is no such backend.")
    assert "an entry point 'theirs_storag' in the group dcp_conformance.backends; installed: " in text
    assert "a module 'theirs_storag' on sys.path and then in FOLDER: no 'theirs_storag' is there" in text
    assert "Nearest names: theirs_storage." in text


def test_an_unknown_submodule_is_told_from_an_unknown_package(author: Author) -> None:
    name = author.writes("raise SystemExit('imported')", file="{}/__init__.py")
    author.writes(pair(), name=name, file="{}/storage.py")

    text = author.is_refused(f"{name}.storge")

    assert f"{name} is there, but it has no module 'storge'" in text
    assert f"Nearest names: {name}.storage." in text


def test_a_name_with_dashes_leads_to_the_module(author: Author) -> None:
    author.writes(pair(), name="theirs_dashed_store")

    assert "Nearest names: theirs_dashed_store." in author.is_refused("theirs-dashed-store")


def test_a_package_below_src_is_pointed_at(author: Author) -> None:
    author.writes(pair(), file="src/theirs_below_src/__init__.py", name="x")

    text = author.is_refused("theirs_below_src")

    assert "src/theirs_below_src/ is there: install that package first" in text


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("", "--backend is empty."),
        ("missing.py", "there is no file FOLDER/missing.py. Python files there: theirs_near.py."),
        ("nowhere/missing.py", "its folder does not exist either"),
        ("./sub", "FOLDER/sub is a folder. Give a module by its dotted name (--backend=sub)"),
        ("sub/notes.txt", "FOLDER/sub/notes.txt is not a .py file"),
        ("theirs_near:two words", "'two words' behind the colon is not an attribute name"),
        ("theirs_near:nothing", "theirs_near holds nothing in 'nothing'. Name a Backend record, or both classes"),
        ("theirs_near:MyWriter", "theirs_near holds no Backend record in 'MyWriter'"),
        ("theirs_near:MyWriter,Other", "theirs_near has no 'Other'. Storage classes there: MyWriter, MyReader."),
        ("theirs_near:MyReader,MyWriter", "MyReader is not a StorageWriter class"),
    ],
)
def test_an_unusable_spelling_is_explained(author: Author, typed: str, sentence: str) -> None:
    author.writes(pair("My"), name="theirs_near")
    author.writes("text", name="notes", file="sub/{}.txt")

    assert sentence in author.is_refused(typed)


def test_a_broken_import_shows_its_own_last_lines(author: Author) -> None:
    name = author.writes("import os", "import not_there_at_all")

    text = author.is_refused(name)

    assert f"found (FOLDER/{name}.py), but importing it failed: ModuleNotFoundError: No module named" in text
    assert f'File "FOLDER/{name}.py", line 2' in text
    assert "importlib" not in text and "harness/" not in text


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("raise SystemExit(3)", "importing it ended the program by SystemExit(3)"),
        ("import pytest; pytest.skip('x', allow_module_level=True)", "importing it failed"),
    ],
)
def test_a_module_that_ends_the_program_is_broken_too(author: Author, statement: str, says: str) -> None:
    assert says in author.is_refused(author.writes(statement))


def test_several_candidates_are_listed_with_the_line_that_names_a_pair(author: Author) -> None:
    name = author.writes(pair("Fast"), pair("Slow"))

    assert author.is_refused(name) == (
        f"--backend={name}: it is not clear which classes of {name} to test.\n"
        "  writers: FastWriter, SlowWriter\n"
        "  readers: FastReader, SlowReader\n"
        f"Name the pair: --backend={name}:FastWriter,FastReader"
    )


def test_half_a_pair_names_the_other_half_from_what_was_imported(author: Author) -> None:
    name = author.writes(
        "from torch.distributed.checkpoint import FileSystemReader, FileSystemWriter",
        "class MyWriter(FileSystemWriter): ...",
    )

    text = author.is_refused(name)

    assert "writers: MyWriter" in text and "readers: none" in text
    assert f"--backend={name}:MyWriter,FileSystemReader" in text


def test_half_a_pair_without_another_half_says_so(author: Author) -> None:
    name = author.writes(pair("My"), "del MyReader")

    assert (
        f"It has no reader. Name a pair that {name} holds: --backend={name}:MyWriter,ReaderClass"
        in author.is_refused(name)
    )


def test_nothing_to_test_says_why_classes_were_not_taken(author: Author) -> None:
    name = author.writes(
        "from torch.distributed.checkpoint import FileSystemReader, FileSystemWriter, StorageWriter",
        "class Half(StorageWriter):",
        "    def reset(self, checkpoint_id=None): ...",
    )

    text = author.is_refused(name)

    assert f"nothing to test in {name}" in text
    assert "Half is abstract: it does not define finish, prepare_global_plan," in text
    assert f"To test these, name them: --backend={name}:FileSystemWriter,FileSystemReader" in text


def test_an_unknown_capability_names_the_near_ones(author: Author) -> None:
    name = author.writes(pair("My"), 'UNSUPPORTED = {"overwriting": "write-once"}')

    text = author.is_refused(name)

    assert text.startswith(f"{name}.UNSUPPORTED names an unknown capability, 'overwriting'. Did you mean overwrite")
    assert "The capabilities are: objects, exotic_dtypes, layouts, overwrite," in text


@pytest.mark.parametrize("reason", ["''", "'  '", "None", "True"])
def test_opting_out_without_a_reason_is_refused(author: Author, reason: str) -> None:
    name = author.writes(pair("My"), f'UNSUPPORTED = {{"overwrite": {reason}}}')

    assert f"{name}.UNSUPPORTED['overwrite'] gives no reason." in author.is_refused(name)


def test_an_unknown_offer_is_refused(author: Author) -> None:
    name = author.writes(pair("My"), 'OFFERS = ["dropin"]')

    assert "names an unknown offer, 'dropin'. Did you mean drop_in?" in author.is_refused(name)


def test_a_record_with_half_a_pair_is_refused_by_itself(author: Author) -> None:
    name = author.writes(
        pair("My"),
        "from dcp_conformance.harness.backend.record import Backend",
        'backend = Backend(name="half", writer=MyWriter)',
    )

    assert author.is_refused(name) == "Backend 'half' has a writer but no reader. A checkpoint needs both."


def test_a_constructor_that_needs_more_than_the_id_asks_for_a_record(author: Author) -> None:
    name = author.writes(pair("My"), "MyWriter.__init__ = lambda self, region, path: None")

    text = author.is_refused(name)

    assert "Writer MyWriter needs path beside its first argument, the checkpoint id. Write a Backend record" in text


def test_two_entry_points_of_one_name_are_refused(author: Author) -> None:
    import sys

    for number in (1, 2):
        author.writes(
            f"Metadata-Version: 2.1\nName: theirs{number}\nVersion: 1\n", file=f"t{number}-1.dist-info/METADATA"
        )
        author.writes(
            f"[dcp_conformance.backends]\nclaimed = theirs_{number}:b\n", file=f"t{number}-1.dist-info/entry_points.txt"
        )
    sys.path.append(str(author.folder))

    assert "several installed packages claim this name" in author.is_refused("claimed")
