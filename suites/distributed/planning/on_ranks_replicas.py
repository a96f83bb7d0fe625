"""Values that several ranks hold: stored once, loaded alike everywhere."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from dcp_conformance.harness.faults.noting import Notes
from dcp_conformance.harness.laws.observations import Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.sharding import Placer, own_groups
from dcp_conformance.harness.states.values import blank, pattern
from dcp_conformance.harness.subject.session import Session
from dcp_conformance.suites.distributed.planning.on_ranks_global_plans import Written, save_noted, written
from dcp_conformance.suites.distributed.sharding.on_ranks_models import Net, job, seeded, stepped

MEBIBYTE = 1 << 20


def stored_size(session: Session) -> tuple[Written | None, int | None]:
    """Save a hybrid and a replicated value at W4: (write results, bytes stored of 1 MiB held by all ranks)."""
    with own_groups():
        placer = Placer(session.device)
        state = {
            "hybrid": placer.distributed(pattern("h", (64, 8), torch.float32), ((0, 1), (2, 3)), ["R", "S0"]),
            "columns": placer.distributed(pattern("c", (8, 64), torch.float32), ((0, 1), (2, 3)), ["S1", "R"]),
            "replicated": placer.distributed(pattern("r", (64,), torch.float32), (0, 1, 2, 3), ["R"]),
        }
        notes = Notes()
        save_noted(session, state, "hybrid", notes)
        del state, placer
    session.save({"large": pattern("large", (MEBIBYTE,), torch.uint8).to(session.device)}, session.new_id("large"))
    return written(notes), _stored(session)


def _stored(session: Session) -> int | None:
    dist.barrier()
    if session.rank or "stored_bytes" in session.storage.unsupported:
        return None
    blobs = session.blobs(session.new_id("large"))
    return None if blobs is None else sum(len(blobs.read(name)) for name in blobs.names())


@job
def model_of_all(session: Session) -> list[Difference]:
    """A DDP model and its optimizer after a step, loaded into ones that hold other values, compared on every rank."""
    model, optimizer = _trained(1)
    expected = {"model": dict(model.module.state_dict()), "moments": _moments(optimizer)}
    session.save({"model": dict(model.module.state_dict()), "moments": _moments(optimizer)}, session.new_id())
    other, other_optimizer = _trained(2)
    target = {"model": dict(other.module.state_dict()), "moments": blank(_moments(other_optimizer))}
    session.load(target, session.new_id())
    other.module.load_state_dict(target["model"])
    return differences(expected, {"model": dict(other.module.state_dict()), "moments": target["moments"]})


def _trained(seed: int) -> tuple[DistributedDataParallel, torch.optim.Optimizer]:
    model = DistributedDataParallel(seeded(Net, seed))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    stepped(model, optimizer, seed)
    return model, optimizer


def _moments(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    return {
        f"{place}.{name}": value.detach().clone()
        for place, state in enumerate(optimizer.state.values())
        for name, value in state.items()
    }
