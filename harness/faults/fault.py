"""Faults as plain data: one way to break one phase of the storage interface on some ranks.

The phases carry the names of PyTorch's own faulty storage, so that its maintainers recognise them.
"""

from __future__ import annotations

from dataclasses import dataclass

# Method of the interface -> phase. `reset` and `storage_meta` come before the guarded phases of the contract.
WRITER_PHASES = {
    "reset": "reset",
    "storage_meta": "storage_meta",
    "set_up_storage_writer": "set_up",
    "prepare_local_plan": "prepare_local_plan",
    "prepare_global_plan": "prepare_global_plan",
    "write_data": "write_data",
    "finish": "finish",
}
READER_PHASES = {
    "reset": "reset",
    "read_metadata": "read_metadata",
    "set_up_storage_reader": "set_up",
    "prepare_local_plan": "prepare_local_plan",
    "prepare_global_plan": "prepare_global_plan",
    "read_data": "read_data",
}
# Methods of save and load planners; each is a phase of its own.
PLANNER_PHASES = (
    "set_up_planner", "create_local_plan", "create_global_plan", "finish_plan",
    "resolve_data", "load_bytes", "resolve_tensor", "commit_tensor",
)  # fmt: skip
FUTURE_PHASES = {"write_data": "write_data_future", "read_data": "read_data_future"}
SAVE_PHASES = ("set_up", "prepare_local_plan", "prepare_global_plan", "write_data", "write_data_future", "finish")
LOAD_PHASES = ("read_metadata", "set_up", "prepare_local_plan", "prepare_global_plan", "read_data", "read_data_future")
KINDS = ("raise", "delay", "hang", "kill", "stop", "exit", "interrupt")


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One way to break one phase on some ranks."""

    #: A value of SAVE_PHASES, LOAD_PHASES or PLANNER_PHASES, or "reset" or "storage_meta".
    phase: str
    #: Group ranks on which it acts (the global rank where there is no sub-group).
    ranks: tuple[int, ...]
    #: One of KINDS: raise an exception; delay by `seconds`; hang for ever; kill the process (SIGKILL); stop it
    #: (SIGSTOP); exit (`os._exit(1)`); interrupt (SIGINT to the process, as Ctrl-C does).
    kind: str = "raise"
    #: Name of a class in builtins or in harness.faults.exceptions.
    exception: str = "ValueError"
    seconds: float = 0.0
    #: Act after the real call instead of before it.
    after: bool = False
    #: The first call of that phase on which it acts, counted from 1.
    first: int = 1
    #: The last such call; 0 means every call from `first` on.
    last: int = 0

    def __post_init__(self) -> None:
        phases = {*WRITER_PHASES.values(), *READER_PHASES.values(), *FUTURE_PHASES.values(), *PLANNER_PHASES}
        if self.phase not in phases or self.kind not in KINDS:
            raise ValueError(
                f"no such fault: phase {self.phase!r} (of {sorted(phases)}), kind {self.kind!r} (of {KINDS})"
            )

    def acts_on(self, phase: str, rank: int, count: int, *, after: bool) -> bool:
        """Tell whether this fault acts on the `count`-th call of `phase` on `rank`."""
        in_range = self.first <= count and (self.last == 0 or count <= self.last)
        return phase == self.phase and rank in self.ranks and in_range and after == self.after
