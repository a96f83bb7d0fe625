"""Nothing is shown to whom it does not belong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.verbs import Broken, Untestable, must, must_return
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.security import on_ranks_leaks as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.security.on_ranks_leaks")


@pytest.mark.clauses("SEC-06")
@pytest.mark.parametrize("umask", (0o077, 0o027, 0o022), ids=("077", "027", "022"))
def test_umask_is_obeyed(subject: Subject, umask: int) -> None:
    modes = subject.alone(on_ranks.modes_under, umask)
    if not modes:
        raise Untestable("nothing was found at the id: it names no file or folder")
    for path, mode in sorted(modes.items()):
        must(
            not mode & umask,
            otherwise=f"under umask {umask:03o} it made {path!r} with mode {mode:03o}",
            kind="mode",
            rank=0,
        )


@pytest.mark.clauses("SEC-06")
@pytest.mark.parametrize("umask", (0o077, 0o027), ids=("077", "027"))
def test_umask_is_obeyed_where_older_files_were_open_to_all(subject: Subject, umask: int) -> None:
    modes = subject.alone(on_ranks.modes_of_overwrite, umask)
    if not modes:
        raise Untestable("the second save made no file that was not there before")
    for path, mode in sorted(modes.items()):
        must(
            not mode & umask,
            otherwise=f"under umask {umask:03o} it made {path!r} with mode {mode:03o}",
            kind="mode",
            rank=0,
        )


@pytest.mark.clauses("SEC-07")
def test_errors_and_logs_reveal_nothing(subject: Subject) -> None:
    outcomes = subject.run(2, on_ranks.texts_of_failures)
    told = must_return(outcomes)
    words = subject.alone(on_ranks.revealed)
    for rank, texts in enumerate(told):
        if not texts:
            raise Untestable(f"rank {rank} was told of no failure, so nothing follows from it")
        for text in (*texts, outcomes[rank].output):
            for word in words:
                if word in text:
                    what = "the password of the address" if word == words[0] else "an element of a tensor"
                    observed = f"an error or log text holds {what}: ...{_around(text, word)}..."
                    raise Broken(observed, kind="revealed", rank=rank)


def _around(text: str, word: str) -> str:
    at = text.index(word)
    return " ".join(text[max(0, at - 60) : at + len(word) + 20].split())
