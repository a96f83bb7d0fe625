"""One state that a crash left, loaded again: `python -m dcp_conformance.harness.crashes.reload BACKEND FILE`.

FILE is what a counter-example of laws.py names; a run with --keep-scratch leaves it there. The state is put
back where it was recorded, because a backend may store absolute paths, and stays there for a closer look.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from dcp_conformance.harness.backend.description import Surveyed
from dcp_conformance.harness.cluster import Cluster, ClusterConfig
from dcp_conformance.harness.crashes.explore import MOST_SECONDS, NEW, OLD
from dcp_conformance.harness.laws.verbs import must_return
from dcp_conformance.harness.recording.operations import Recording, load
from dcp_conformance.harness.subject.spec import TORCH_ENGINE, Part, SubjectSpec
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

_FOLDER = ".d"  # behind the name of a folder of recorded ids, see harness.subject.watch_ranks

if TYPE_CHECKING:
    from dcp_conformance.harness.crashes import on_ranks as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.harness.crashes.on_ranks")


def main() -> None:
    """Rebuild the state, load it, and print what that gave."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("backend")
    parser.add_argument("file", type=Path)
    options = parser.parse_args()
    kept = load(options.file)
    scratch = Path(tempfile.mkdtemp(prefix="crash-replay-"))
    try:
        config = ClusterConfig(folder=scratch, search_path=(os.getcwd(),))
        with Cluster(config) as cluster:
            print(replayed(cluster, options.backend, kept))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def replayed(cluster: Cluster, backend: str, kept: Recording) -> str:
    """Return what a load of a kept state gives, as a sentence."""
    watched = Path(kept.watched)
    watched.mkdir(parents=True, exist_ok=True)
    place, name = watched.name.removesuffix(_FOLDER).split("-crash-", 1)
    # A save to a new id finds folders at most: any content before it is an older checkpoint.
    versions = (OLD, NEW) if any(kept.before.values()) else (NEW,)
    subject = Subject(cluster, _spec(cluster, backend, watched.parent, place), ())
    arguments = (f"crash-{name}", versions, {0: kept.after}, True, MOST_SECONDS)
    [outcome] = subject.run(1, on_ranks.load_trees, *arguments)
    found = [event.data for event in outcome.events if event.kind == "loaded"]
    said = f"{found[0]['gave']} {found[0]['said']}".strip() if found else f"no answer: {outcome}"
    return f"{kept.means}\nthe load gave {said}\nthe state is in {watched}"


def _spec(cluster: Cluster, backend: str, scratch: Path, place: str) -> SubjectSpec:
    own = Part(reference=backend)
    [surveyed] = must_return(
        [cluster.call("dcp_conformance.harness.backend.survey:survey", backend, (), "none", "cpu", os.getcwd())]
    )
    assert isinstance(surveyed, Surveyed)
    engine = own if "E" in surveyed.description.letters else Part(reference=TORCH_ENGINE)
    return SubjectSpec(
        under_test=backend, storage=own, engine=engine, scratch=str(scratch), place=place, folder=os.getcwd()
    )  # fmt: skip


if __name__ == "__main__":
    main()
