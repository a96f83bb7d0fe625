"""Functions that the tests of this folder run on ranks."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from dcp_conformance.harness.cluster.rank import current, emit


def who(value: int) -> tuple[int, int, int]:
    info = current()
    return info.rank, info.world_size, value * 2


def pid() -> int:
    return os.getpid()


def info() -> dict[str, Any]:
    import torch.distributed as dist

    return {
        **vars(current()),
        "initialized": dist.is_initialized(),
        "nice_env": {name: os.environ.get(name) for name in ("RANK", "WORLD_SIZE", "GLOO_SOCKET_IFNAME")},
        "threads": os.environ["OMP_NUM_THREADS"],
        "path": list(sys.path),
    }


def all_reduced() -> int:
    import torch
    import torch.distributed as dist

    total = torch.tensor([dist.get_rank() + 1])
    dist.all_reduce(total)
    return int(total.item())


def reshard(folder: str) -> float:
    import torch
    import torch.distributed as dist
    import torch.distributed.checkpoint as dcp
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    saved = distribute_tensor(torch.arange(64.0).reshape(8, 8), mesh, [Shard(0)])
    dcp.save({"x": saved}, checkpoint_id=folder)
    loaded = distribute_tensor(torch.zeros(8, 8), mesh, [Shard(1)])
    dcp.load({"x": loaded}, checkpoint_id=folder)
    return float(loaded.full_tensor().sum().item())


def modules_of_a_job(folder: str) -> list[str]:
    """Modules that a sharded save and load, FSDP1, FSDP2, async_save and the converters import for the first time."""
    before = set(sys.modules)
    import torch
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.format_utils import dcp_to_torch_save, torch_save_to_dcp
    from torch.distributed.checkpoint.state_dict import get_state_dict
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard

    reshard(f"{folder}/reshard")
    torch.manual_seed(0)
    mesh = init_device_mesh("cpu", (current().world_size,))
    model = torch.nn.Linear(4, 4)
    fully_shard(model, mesh=mesh)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(2, 4)).sum().backward()
    optimizer.step()
    states = get_state_dict(model, optimizer)
    saving: Any = dcp.async_save({"states": states}, checkpoint_id=f"{folder}/async")
    saving.result()
    FullyShardedDataParallel(torch.nn.Linear(4, 4), device_id=torch.device("cpu"))(torch.ones(2, 4)).sum().backward()
    if current().rank == 0:
        dcp_to_torch_save(f"{folder}/reshard", f"{folder}/one.pt")
        torch_save_to_dcp(f"{folder}/one.pt", f"{folder}/back")
    return sorted(set(sys.modules) - before - {__name__})


# Outcomes


def value_or_error(failing: int) -> str:
    if current().rank == failing:
        raise ValueError(f"rank {failing} fails") from KeyError("reason")
    return "fine"


def raise_checkpoint_exception() -> None:
    from torch.distributed.checkpoint.api import CheckpointException, _wrap_exception

    try:
        raise OSError(28, "No space left on device")
    except OSError as error:
        raise CheckpointException("writing", {1: _wrap_exception(error)}) from None


def raise_base(name: str) -> None:
    raise {"exit": SystemExit(3), "interrupt": KeyboardInterrupt("stop")}[name]


class Unfriendly(Exception):
    """Cannot be printed, cannot be pickled."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()

    def __str__(self) -> str:
        raise RuntimeError("no text")


def raise_unfriendly() -> None:
    raise Unfriendly


def raise_cycle() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    raise first


def raise_deep_chain() -> None:
    error: Exception = ValueError("0")
    for number in range(1, 500):
        outer = ValueError(str(number))
        outer.__cause__ = error
        error = outer
    raise error


def recurse() -> None:
    recurse()


def return_lock() -> Any:
    return threading.Lock()


def return_tensor() -> Any:
    import torch

    return torch.ones(2)


def take(value: Any) -> str:
    return repr(value)


class Opens:
    """Pickles, and fails to unpickle."""

    def __reduce__(self) -> Any:
        return (open_missing, ())


def open_missing() -> None:
    raise OSError("cannot be rebuilt")


def die_by_signal(failing: int, number: int) -> str:
    if current().rank == failing:
        os.kill(os.getpid(), number)
        time.sleep(60)
    return "alive"


def die_in_native_code() -> None:
    ctypes.string_at(0)


def exit_now(failing: int, code: int) -> str:
    if current().rank == failing:
        os._exit(code)
    return "alive"


def die_after_events() -> None:
    emit("phase", name="plan", rank=current().rank)
    emit("phase", name="write", rank=current().rank)
    if current().rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)


def emit_everywhere() -> None:
    emit("here", at="main")
    thread = threading.Thread(target=emit, args=("here",), kwargs={"at": "thread"})
    thread.start()
    thread.join()
    child = os.fork()
    if child == 0:
        emit("here", at="fork")
        os._exit(0)
    os.waitpid(child, 0)
    code = (
        "import sys; sys.path[:] = eval(sys.argv[1]); "
        "from dcp_conformance.harness.cluster.rank import emit; emit('here', at='exec')"
    )
    subprocess.run([sys.executable, "-c", code, repr(sys.path)], check=True)


def emit_foreign() -> None:
    import torch

    emit("value", data=torch.float32)


def fork_and_return(failing: bool) -> str:
    """The child comes back from the function as well, as if it were the rank."""
    child = os.fork()
    if child == 0 and failing:
        raise ValueError("in the child")
    if child != 0:
        os.waitpid(child, 0)
    return "parent" if child else "child"


def emit_for_ever() -> None:
    while True:
        emit("again")


def nap(seconds: float) -> None:
    time.sleep(seconds)


# Hangs


def wait_for_ever_in_a_named_place() -> None:
    threading.Event().wait()


def one_waits(waiting: int) -> str:
    if current().rank == waiting:
        wait_for_ever_in_a_named_place()
    return "done"


def blocked_in_gloo() -> str:
    import torch.distributed as dist

    if current().rank == 0:
        dist.barrier()
    return "done"


def stop_myself(stopping: int) -> str:
    if current().rank == stopping:
        os.kill(os.getpid(), signal.SIGSTOP)
    return "done"


def loop_for_ever() -> None:
    while True:
        hash("busy")


def work_slowly(seconds: float) -> str:
    """Sleep a lot, work a little."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.3)
        burn_until = time.process_time() + 0.02
        while time.process_time() < burn_until:
            hash("work")
    return "done"


def work_in_child(seconds: float) -> str:
    code = f"from tests.cluster.functions import work_slowly; work_slowly({seconds})"
    path = [str(Path(__file__).resolve().parents[2]), *sys.path]
    subprocess.run([sys.executable, "-c", f"import sys; sys.path[:] = {path!r}\n{code}"], check=True)
    return "done"


def wait_and_report(seconds: float) -> str:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.4)
        emit("alive")
    return "done"


# Devices


def take_pretended_device(count: int) -> tuple[str, str]:
    """Choose a device as if there were so many; the calls that would need one are recorded instead."""
    from unittest import mock

    import torch

    from dcp_conformance.harness.cluster.devices import take_device

    with (
        mock.patch.object(torch.accelerator, "current_accelerator", return_value=torch.device("cuda")),
        mock.patch.object(torch.accelerator, "device_count", return_value=count),
        mock.patch.object(torch.accelerator, "set_device_index") as set_device,
        mock.patch.object(torch, "zeros"),
    ):
        device, backend = take_device("cuda", current().rank, current().world_size)
        set_device.assert_called_once_with(int(device.removeprefix("cuda:")))
    return device, backend


# Output


def speak(word: str) -> None:
    print(f"{word} from python on {current().rank}")
    print(f"{word} as an error", file=sys.stderr)
    subprocess.run(["echo", f"{word} from a child"], check=True)
    ctypes.CDLL(None).printf(f"{word} from C\n".encode())


def speak_and_die(word: str) -> None:
    print(word)
    os.kill(os.getpid(), signal.SIGKILL)


def flood() -> None:
    for number in range(4000):
        print("line", number)


# Modules


def loaded(names: list[str]) -> list[str]:
    return [name for name in names if name in sys.modules]


def load(name: str) -> None:
    __import__(name)
