"""Functions that tests run on ranks to leave something behind."""

from __future__ import annotations

import faulthandler
import logging
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from dcp_conformance.harness.cluster.rank import current, emit

KEPT: list[Any] = []
"""What a function keeps alive."""


def poison(name: str, folder: str) -> None:
    """Change one thing and return normally."""
    globals()[f"_poison_{name}"](folder)


def _poison_default_dtype(_folder: str) -> None:
    import torch

    torch.set_default_dtype(torch.float64)


def _poison_default_device(_folder: str) -> None:
    import torch

    torch.set_default_device("meta")


def _poison_grad_mode(_folder: str) -> None:
    import torch

    torch.set_grad_enabled(False)


def _poison_deterministic(_folder: str) -> None:
    import torch

    torch.use_deterministic_algorithms(True)


def _poison_torch_threads(_folder: str) -> None:
    import torch

    torch.set_num_threads(3)


def _poison_group(_folder: str) -> None:
    import torch.distributed as dist

    KEPT.append(dist.new_group([0, 1]))


def _poison_destroyed_group(_folder: str) -> None:
    import torch.distributed as dist

    dist.destroy_process_group()


def _poison_cwd(folder: str) -> None:
    os.chdir(folder)


def _poison_environment(_folder: str) -> None:
    os.environ["POISON_TOKEN"] = "secret value"


def _poison_limit(_folder: str) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (123, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))


def _poison_umask(_folder: str) -> None:
    os.umask(0o077)


def _poison_handler(_folder: str) -> None:
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)


def _poison_native_handler(_folder: str) -> None:
    faulthandler.register(signal.SIGUSR2)


def _poison_timer(_folder: str) -> None:
    signal.setitimer(signal.ITIMER_REAL, 1000)


def _poison_thread(_folder: str) -> None:
    threading.Thread(target=time.sleep, args=(1000,), name="uploader", daemon=True).start()


def _poison_pool(_folder: str) -> None:
    KEPT.append(pool := ThreadPoolExecutor(1, thread_name_prefix="writers"))
    pool.submit(int).result()


def _poison_child(_folder: str) -> None:
    KEPT.append(subprocess.Popen(["sleep", "1000"]))


def _poison_zombie(_folder: str) -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)


def _poison_orphan(_folder: str) -> None:
    daemonize()


def _poison_file(folder: str) -> None:
    KEPT.append(open(Path(folder, "left-open.bin"), "wb"))  # noqa: SIM115


def _poison_logger(_folder: str) -> None:
    logging.getLogger("torch.distributed").addHandler(logging.StreamHandler(sys.stdout))


def _poison_root_logger(_folder: str) -> None:
    logging.getLogger().addHandler(logging.NullHandler())


def _poison_python_random(_folder: str) -> None:
    random.random()


def _poison_torch_random(_folder: str) -> None:
    import torch

    torch.rand(1)


def _poison_numpy_random(_folder: str) -> None:
    import numpy

    numpy.random.rand()


def _poison_stdout(_folder: str) -> None:
    sys.stdout = sys.stderr


def _poison_stray_collective(_folder: str) -> None:
    import torch
    import torch.distributed as dist

    if current().rank == 0:
        KEPT.append(dist.all_reduce(torch.ones(1), async_op=True))


def _poison_late_death(_folder: str) -> None:
    if current().rank == 1:
        threading.Timer(0.05, os._exit, (7,)).start()


def daemonize() -> None:
    """Leave a process in a session of its own, with no parent of ours."""
    child = os.fork()
    if child == 0:
        os.setsid()
        if os.fork() == 0:
            os.execvp("sleep", ["sleep", "1000"])
        os._exit(0)
    os.waitpid(child, 0)


def clean_user(folder: str) -> None:
    """Uses much and leaves nothing: closed files, joined threads, reaped children, garbage in cycles."""
    thread = threading.Thread(target=time.sleep, args=(0.05,))
    thread.start()
    threading.Thread(target=time.sleep, args=(0.05,)).start()
    subprocess.run(["true"], check=True)
    cycle: list[Any] = [open(Path(folder, f"cycle-{current().rank}"), "wb")]  # noqa: SIM115
    cycle.append(cycle)
    thread.join()


def leave_processes() -> list[int]:
    """A child, a grandchild, a daemon in its own session, and a spawned multiprocessing worker."""
    import multiprocessing

    KEPT.append(subprocess.Popen(["sleep", "1000"]))
    KEPT.append(subprocess.Popen(["sh", "-c", "sleep 1000 & sleep 1000"]))
    KEPT.append(subprocess.Popen(["sleep", "1000"], start_new_session=True))
    daemonize()
    worker = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(1000,), daemon=True)
    worker.start()
    KEPT.append(worker)
    return [os.getpid()]


def leave_processes_and_wait() -> None:
    leave_processes()
    emit("left")
    Path(current().folder, f"left-{current().rank}").touch()
    time.sleep(1000)


def leave_processes_and_kill(number: int) -> None:
    leave_processes()
    os.kill(number, signal.SIGKILL)
    time.sleep(60)
