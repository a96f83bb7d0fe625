"""What a power cut may take of what is not on the disk yet: the legal choices, for names and for the data of a file.

Only what real devices and file systems do is a choice here, because one impossible state would be a false alarm:
- A sector of 512 bytes is written whole or not at all, so nothing is torn inside one. Files are torn where a sector
  ends (near the middle, after the first one) and where a page of 4096 bytes ends.
- Bytes that were synced, and not cut off since, keep their old or get their new value; zeros appear only where a file
  grew (its length was kept, its data was not). A file is empty only where it was emptied or is new.
- Pages reach the disk in any order, but each as it was at some moment: the loss of the first write alone, which is one
  of the classic tests, is therefore the loss of its whole page.
- One change of names (a rename over another file, an exchange) happens whole or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dcp_conformance.harness.replay.disk import Disk
from dcp_conformance.harness.replay.inodes import NameChange, Node, played

SECTOR, PAGE = 512, 4096
# Of a long list of un-synced changes, so many are tried alone; the others behave alike.
MOST_ALONE = 12


@dataclass(frozen=True)
class Loss:
    """One choice: name changes that did not happen, contents that differ from the live ones, and both in words."""

    names: tuple[NameChange, ...] = ()
    contents: tuple[tuple[int, bytes], ...] = ()
    said: str = "nothing"


def losses(disk: Disk) -> Iterator[Loss]:
    """Yield everything that a power cut now may leave; the loss of nothing comes first. No two are the same choice."""
    dirty = disk.dirty()
    # Names may survive without data and data without names: both are lost apart and together.
    bare = tuple((number, disk.nodes[number].durable) for number in dirty)
    for names, said in name_losses(disk):
        yield Loss(names, (), said or "nothing")
        if bare:
            yield Loss(names, bare, " and ".join(filter(None, (said, "all un-synced data"))))
    for number in dirty:
        path = disk.path_of(number)
        for content, said in data_losses(disk.nodes[number]):
            yield Loss((), ((number, content),), f"{said} of {path}")


def name_losses(disk: Disk) -> Iterator[tuple[tuple[NameChange, ...], str]]:
    """Yield the sets of name changes that may be lost together. In order, for a journal.

    Without a journal: each alone, and all but each.
    """
    pending = disk.pending_names()
    yield (), ""
    if not pending:
        return
    if disk.journal:
        # In a journal a change is lost only together with all that came after it.
        for first in _sampled(range(len(pending))):
            yield tuple(pending[first:]), f"the name changes from '{pending[first].said}' on"
        return
    yield tuple(pending), "all un-synced name changes"
    if len(pending) == 1:
        return
    for place in _sampled(range(len(pending))):
        yield (pending[place],), f"the name change '{pending[place].said}'"
        if len(pending) > 2:
            others = (*pending[:place], *pending[place + 1 :])
            yield others, f"all un-synced name changes but '{pending[place].said}'"


def data_losses(node: Node) -> Iterator[tuple[bytes, str]]:
    """Yield the contents that one file may have, none of them its live one, with what is lost in words."""
    live, seen = node.live, {node.live}
    for content, said in (*_earlier(node), *_torn(node)):
        if content not in seen:
            seen.add(content)
            yield content, said
    assert live in seen


def _earlier(node: Node) -> Iterator[tuple[bytes, str]]:
    """Yield the file as it was after some of its changes."""
    count = len(node.pending)
    yield node.durable, "all un-synced data"
    # The ends and the middle stand for the rest: each content is one more state to be rebuilt and loaded.
    for done in sorted({1, count // 2, count - 1} - {0, count}):
        yield played(node.durable, node.pending[:done]), f"the last {count - done} of {count} un-synced changes"


def _torn(node: Node) -> Iterator[tuple[bytes, str]]:
    """Yield the file with a part of its new bytes: what is missing is old where there is something old, else zeros."""
    start, end = _written(node)
    live, bare = node.live, _bare(node)
    # Nothing but lengths was changed: there are no new bytes to be torn.
    if start >= end:
        return
    yield live[:start] + bare[start:end] + live[end:], "the new bytes (not the length)"
    for cut, said in _tears(start, end):
        yield live[:cut] + bare[cut:end] + live[end:], f"the new bytes behind {cut} ({said})"
    page = min(end, (start // PAGE + 1) * PAGE)
    if page < end:
        yield live[:start] + bare[start:page] + live[page:], f"the new bytes before {page} (the first page)"


def _tears(start: int, end: int) -> Iterator[tuple[int, str]]:
    middle = (start + end) // 2
    places = {
        middle // SECTOR * SECTOR: "half",
        (start // SECTOR + 1) * SECTOR: "after the first sector",
        (end - 1) // SECTOR * SECTOR: "the last sector",
        (start // PAGE + 1) * PAGE: "after the first page",
        middle // PAGE * PAGE: "half the pages",
    }
    for cut in sorted(places):
        if start < cut < end:
            yield cut, places[cut]


def _written(node: Node) -> tuple[int, int]:
    """Return the range of un-synced bytes within the live content."""
    spans = [(change.offset, change.offset + len(change.data)) for change in node.pending if change.data]
    if not spans:
        return 0, 0
    return min(start for start, _ in spans), min(max(end for _, end in spans), len(node.live))


def _bare(node: Node) -> bytes:
    """Return what lies under the new bytes: synced ones that were never cut off since, and zeros.

    The result is as long as the file.
    """
    # What was cut off is gone, whatever was written there since: under new bytes lie zeros then, and not the old ones.
    kept = min([len(node.durable), *(change.offset for change in node.pending if change.data is None)])
    return (node.durable[:kept] + bytes(len(node.live)))[: len(node.live)]


def _sampled(places: Sequence[int]) -> list[int]:
    """Return at most MOST_ALONE of them, evenly, with the first and the last."""
    if len(places) <= MOST_ALONE:
        return list(places)
    step = (len(places) - 1) / (MOST_ALONE - 1)
    return sorted({places[round(step * number)] for number in range(MOST_ALONE)})
