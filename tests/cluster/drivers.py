"""Programs that tests run in processes of their own: `python -m tests.cluster.drivers NAME FOLDER ...`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from dcp_conformance.harness.cluster import Cluster, ClusterConfig
from tests.cluster import functions, poisons

MARK = "DCP_CONFORMANCE_TEST_MARK"
"""Environment variable by which a test finds every process that its driver caused."""


def leave_and_wait(folder: str) -> None:
    """Ranks leave processes of every kind and wait; the test ends this process meanwhile."""
    with _cluster(folder) as cluster:
        cluster.run(2, poisons.leave_processes_and_wait)


def leave_and_return(folder: str) -> None:
    """Ranks leave processes of every kind; the cluster is closed in order."""
    with _cluster(folder) as cluster:
        cluster.run(2, poisons.leave_processes)


def start_in_a_thread_that_ends(folder: str) -> None:
    """The thread that starts the server ends before the cluster is used."""
    import threading
    import time

    cluster = _cluster(folder)
    thread = threading.Thread(target=cluster.start)
    thread.start()
    thread.join()
    time.sleep(0.3)
    print(len(cluster.run(2, functions.pid)))
    cluster.close()


def die_while_preloading(folder: str) -> None:
    """Ends without closing while the server still imports."""
    import threading

    threading.Timer(0.7, os._exit, (0,)).start()
    _cluster(folder).start()


def branch_and_wait(folder: str, nursery: str) -> None:
    """Ranks of a branch of the test's own server leave processes of every kind and wait."""
    config = ClusterConfig(folder=Path(folder), branch_of=Path(nursery))
    with Cluster(config) as cluster:
        Path(folder, "branch").write_text(str(cluster.server_pid()))
        cluster.run(2, poisons.leave_processes_and_wait)


def _cluster(folder: str) -> Cluster:
    environment = {MARK: os.environ[MARK]}
    return Cluster(ClusterConfig(folder=Path(folder), preload=("torch.distributed",), environment=environment))


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
