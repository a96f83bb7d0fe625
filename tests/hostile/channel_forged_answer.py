"""Gives zeros, and answers the judge itself before its scenario can."""

from __future__ import annotations

from typing import Any

import torch

from dcp_conformance.harness import control
from dcp_conformance.harness.cluster import codec, rank

UNSUPPORTED = control.UNSUPPORTED
Writer = control.Writer


class Reader(control.Reader):
    """Zeroes what it reads and sends an answer without a difference."""

    def read_data(self, plan: Any, planner: Any) -> Any:
        done = super().read_data(plan, planner)
        for value in planner.state_dict.values():
            if isinstance(value, torch.Tensor):
                value.zero_()
        here = rank._Here
        assert here.channel is not None
        number = rank.current().run
        here.channel.send(("answer", number, "returned", codec.dumps([]), 0.1, (), True))
        return done
