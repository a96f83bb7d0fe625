"""Facts about torch (and numpy, where loaded) that a run must leave as it found them."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.distributed as dist


def _bytes(state: torch.Tensor) -> bytes:
    return ctypes.string_at(state.data_ptr(), state.numel())  # 1 us; tolist() and the storage's iterator take 100


def _torch_random() -> bytes:
    return _bytes(torch.get_rng_state())


def _device_random() -> tuple[bytes, ...]:
    module = _device_module()
    if module is None or not hasattr(module, "get_rng_state"):
        return ()  # simulated devices draw from the CPU's generator
    # Of the current device only: looking at another one would make a context on it.
    device = module.current_device()
    return (str(device).encode(), _bytes(module.get_rng_state(device)))


def _current_device() -> int | None:
    return None if _device_module() is None else torch.accelerator.current_device_index()


def _device_module() -> Any:
    """Return the module of the accelerator that this process uses; None while it has touched none."""
    kind = torch.accelerator.current_accelerator()
    module: Any = None if kind is None else torch.get_device_module(kind)
    # Asking an untouched device for its state would initialise it, and that would be the first difference of the run.
    return module if module is not None and getattr(module, "is_initialized", bool)() else None


def _numpy_random() -> tuple[Any, ...]:
    # Looked up and not imported: a backend without numpy should not pay for it in each rank.
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is None:
        return ()
    name, keys, *rest = numpy_random.get_state()
    return (name, keys.tobytes(), *rest)


def _groups() -> tuple[str, ...]:
    if not dist.is_initialized():
        return ()
    world: Any = getattr(dist.distributed_c10d, "_world", None)  # private: there is no public list of groups
    names = getattr(world, "pg_names", {})
    return tuple(str(name) for name in names.values()) or ("default",)


def _cudnn() -> tuple[bool, ...]:
    cudnn = torch.backends.cudnn
    return (cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32)


#: Name -> (how to read it, whether only the change is told because the value means nothing to a reader).
TORCH_FACTS: Mapping[str, tuple[Callable[[], Any], bool]] = {
    "torch's default dtype": (lambda: str(torch.get_default_dtype()), False),
    "torch's default device": (lambda: str(torch.get_default_device()), False),
    "torch's current device index": (_current_device, False),
    "torch's gradient mode": (torch.is_grad_enabled, False),
    "torch's inference mode": (torch.is_inference_mode_enabled, False),
    "torch's autocast on CPU": (lambda: torch.is_autocast_enabled("cpu"), False),
    "torch's deterministic switch": (torch.are_deterministic_algorithms_enabled, False),
    "torch's deterministic warn-only switch": (torch.is_deterministic_algorithms_warn_only_enabled, False),
    "torch's anomaly mode": (torch.is_anomaly_enabled, False),
    "torch's float32 matmul precision": (torch.get_float32_matmul_precision, False),
    "The cuDNN flags (enabled, benchmark, deterministic, tf32)": (_cudnn, False),
    "torch's thread count": (torch.get_num_threads, False),
    "torch's inter-op thread count": (torch.get_num_interop_threads, False),
    "The list of process groups": (_groups, False),
    "The random state of torch": (_torch_random, True),
    "The random state of torch on the device": (_device_random, True),
    "The random state of numpy": (_numpy_random, True),
}
