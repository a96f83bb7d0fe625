"""What each hostile backend is, what it is run on, and what its certificate must say of it."""

from __future__ import annotations

from dataclasses import dataclass

# How a run of a hostile backend may end. `lost`: the level is lost, the backend broke a MUST. `not held`: lost or not
# decided, where the evidence itself was attacked. `refused`: exit 4 and a sentence, before anything is judged.
ENDINGS = ("lost", "not held", "refused")


# The case that most of them are run on.
ONE_RANK = ("ordinary_dtype_comes_back_bit_for_bit[float32-constructor]",)


@dataclass(frozen=True, kw_only=True)
class Hostile:
    """One hostile backend.

    module: below tests/hostile, without `.py`, named `<kind>_<name>`. does: what it does, as half a sentence.
    clauses, cases: what it is run on; no cases means all of the clauses. says: what the output must contain. limit:
    seconds for its judgement. whole_run: with a run of its own, because it is about what a run does as a whole; the
    others are judged one after the other, see warm.py. often: also in `make test`; the others every night.
    """

    module: str
    does: str
    clauses: tuple[str, ...] = ("TYPE-02",)
    cases: tuple[str, ...] = ONE_RANK
    ending: str = "lost"
    says: str = ""
    options: tuple[str, ...] = ()
    limit: float = 60.0
    whole_run: bool = False
    often: bool = False


HOSTILE: tuple[Hostile, ...] = (
    Hostile(
        module="values_zeros_at_once",
        does="gives zeros for every tensor",
        says="elements differ",
    ),
    Hostile(
        module="evidence_replaces_compare",
        does="gives zeros and replaces the comparison",
        often=True,
        ending="lost",
        says="was replaced while it ran",
    ),
    Hostile(
        module="evidence_changes_code",
        does="gives zeros and puts other code into the comparison",
        ending="lost",
        says="was replaced while it ran",
    ),
    Hostile(
        module="evidence_replaces_unequal",
        does="gives zeros and makes tensors never differ",
        ending="not held",
    ),
    Hostile(
        module="evidence_zeroes_later",
        does="zeroes right values half a second after the load",
        ending="lost",
        says="and later",
    ),
    Hostile(
        module="records_forged",
        whole_run=True,
        does="gives zeros and writes passes into the event files, which it finds in the judge's descriptors",
        says="not written by the judge of this run",
    ),
    Hostile(
        module="channel_garbage",
        does="writes garbage into every socket of its process",
        ending="lost",
        says="",
    ),
    Hostile(
        module="channel_forged_answer",
        does="answers the judge in the place of its scenario",
        ending="lost",
        says="",
    ),
    Hostile(
        module="store_in_memory",
        does="keeps its data in /dev/shm, and on the disk only where they lie",
        clauses=("DUR-02", "DUR-14"),
        cases=("crash_anywhere_in_a_save_to_a_new_id_leaves_all_or_nothing[1ranks]",),
        ending="not held",
        says="/dev/shm/",
        often=True,
    ),
    Hostile(
        module="evidence_function_mode",
        does="gives zeros under a mode of torch in which nothing differs",
        ending="not held",
    ),
    Hostile(
        module="evidence_dispatch_mode",
        does="gives zeros under a mode below autograd in which nothing differs",
        ending="not held",
    ),
    Hostile(
        module="evidence_kernel",
        does="gives zeros and replaces the kernel that compares",
        ending="not held",
    ),
    Hostile(
        module="evidence_replaces_equal",
        does="gives zeros and makes tensors always equal",
        ending="not held",
    ),
    Hostile(
        module="evidence_replaces_builtin",
        does="gives zeros and replaces a function of Python",
        ending="not held",
    ),
    Hostile(
        module="evidence_replaces_attempt",
        does="gives zeros and replaces what a scenario is run with",
    ),
    Hostile(
        module="evidence_heals_itself",
        does="gives zeros and makes tensors never differ for half a second",
        ending="not held",
    ),
    Hostile(
        module="evidence_zeroes_at_collection",
        does="zeroes right values when garbage is collected",
    ),
    Hostile(
        module="evidence_zeroes_when_traced",
        does="zeroes right values when the comparison returns",
        ending="not held",
    ),
    Hostile(
        module="evidence_zeroes_on_alarm",
        does="zeroes right values when a timer runs out",
    ),
    Hostile(
        module="channel_closed",
        does="closes every socket of its process",
    ),
    Hostile(
        module="channel_flood",
        does="tells the judge more than it could keep",
    ),
    Hostile(
        module="process_killed",
        does="kills its own process",
        often=True,
    ),
    Hostile(
        module="process_exits",
        does="ends its process in order",
    ),
    Hostile(
        module="process_kills_parent",
        does="kills the process that ranks are forked from",
        often=True,
    ),
    Hostile(
        module="process_stops_parent",
        does="stops the process that ranks are forked from",
        limit=200.0,
    ),
    Hostile(
        module="process_stopped",
        does="stops its own process",
    ),
    Hostile(
        module="process_daemon",
        does="gives zeros and leaves a daemon with its own session and an empty environment",
    ),
    Hostile(
        module="hang_asleep",
        does="sleeps in a load for ever",
    ),
    Hostile(
        module="hang_busy",
        does="burns processor time in a load for ever",
        limit=400.0,
    ),
    Hostile(
        module="hang_deaf",
        does="sleeps in a load for ever and lets no signal through",
    ),
    Hostile(
        module="text_surrogates",
        does="fails with a text that is not encodable",
    ),
    Hostile(
        module="text_ansi",
        does="fails with a text that would write a verdict on the terminal",
    ),
    Hostile(
        module="text_endless",
        does="fails with a text of 100 MB",
    ),
    Hostile(
        module="text_without",
        does="fails with an error that has no text",
    ),
    Hostile(
        module="text_that_hangs",
        does="fails with an error whose text never ends",
        limit=120.0,
    ),
    Hostile(
        module="files_pipes",
        does="gives zeros and lays pipes in the place of files of its rank",
    ),
    Hostile(
        module="files_sparse",
        does="gives zeros and stretches files of its rank",
    ),
    Hostile(
        module="values_untouched",
        does="says that it has read and has not",
    ),
    Hostile(
        module="values_of_the_first",
        does="gives what its process loaded first",
        clauses=("FIN-06",),
        cases=("each_of_many_saves_to_an_id_leaves_its_own_state[1ranks]",),
        often=True,
    ),
    Hostile(
        module="use_of_nothing",
        does="counts as false, so that torch uses its own storage",
        ending="not held",
    ),
    Hostile(
        module="store_in_temporary_files",
        does="keeps its data in the temporary folder",
        clauses=("DUR-02", "DUR-14"),
        cases=("crash_anywhere_in_a_save_to_a_new_id_leaves_all_or_nothing[1ranks]",),
        ending="not held",
        says="not among the files of the checkpoint",
    ),
    Hostile(
        module="store_in_a_daemon",
        does="keeps its data in the memory of a process that lasts",
        clauses=("DUR-01",),
        cases=("checkpoint_survives_the_death_of_all_ranks_after_save[1ranks]",),
    ),
    Hostile(
        module="import_exits",
        does="ends every process that imports it",
        ending="refused",
        whole_run=True,
    ),
    Hostile(
        module="import_hangs",
        does="is never done with being imported",
        ending="refused",
        limit=240.0,
        whole_run=True,
    ),
    Hostile(
        module="import_kills_parent",
        does="kills the process that imports it",
        ending="refused",
        whole_run=True,
    ),
    Hostile(
        module="import_interrupts",
        does="answers its import with what Ctrl-C raises",
        ending="refused",
        whole_run=True,
    ),
    Hostile(
        module="text_of_the_record",
        does="has a version that would write a verdict on the terminal",
        whole_run=True,
    ),
    Hostile(
        module="report_linked",
        does="gives zeros and puts a link in the place of the report",
        says="The report is in",
        ending="lost",
        whole_run=True,
    ),
    Hostile(
        module="report_locked",
        does="gives zeros and puts a file in the place of the report",
        says="The report is in",
        whole_run=True,
    ),
    Hostile(
        module="scratch_deep",
        does="gives zeros and leaves 1,500 nested folders",
        whole_run=True,
    ),
    Hostile(
        module="scratch_unmarked",
        does="gives zeros and takes the mark and the rights of the folder away",
        whole_run=True,
    ),
    Hostile(
        module="blobs_do_nothing",
        does="answers requests for damage and does nothing",
        clauses=("CORR-01", "CORR-03"),
        cases=("missing_object_fails_the_load[both]", "changed_bytes_are_noticed[flip]"),
        ending="not held",
        says="no byte at",
        often=True,
    ),
    Hostile(
        module="blobs_in_another_world",
        does="damages copies in memory",
        clauses=("CORR-01", "CORR-03"),
        cases=("missing_object_fails_the_load[both]", "changed_bytes_are_noticed[flip]"),
        ending="not held",
        says="no byte at",
        often=True,
    ),
    Hostile(
        module="blobs_list_nothing",
        does="says that nothing is stored",
        clauses=("CORR-01", "CORR-03"),
        cases=("missing_object_fails_the_load[both]", "changed_bytes_are_noticed[flip]"),
        ending="not held",
        says="cannot be reached",
        often=False,
    ),
    Hostile(
        module="hang_in_every_call",
        does="burns processor time for ever in the first call of every case",
        limit=400.0,
    ),
)
