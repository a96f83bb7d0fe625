"""Options of a run that cannot be used, with a backend that can."""

from __future__ import annotations

from collections.abc import Mapping

from tests.wrong_inputs.wrong import LONG, Wrong, wrong

TORCH = "torch.distributed.checkpoint"
NOTHING = "that names nothing"
ENGINE = "def save(state_dict, *, checkpoint_id): ...\ndef load(state_dict, *, checkpoint_id): ...\n"


def given(*words: str, says: str | tuple[str, ...], **fields: object) -> Wrong:
    """A run of torch's own DCP with these options."""
    return wrong((TORCH, *words), *((says,) if isinstance(says, str) else says), **fields)


def known(text: str | bytes, *says: str) -> Wrong:
    """A file of known failures with that content."""
    return given("--known-failures=k.toml", says=says, files={"k.toml": text})


LEVELS: Mapping[str, Wrong] = {
    "level cut short": given("--level", "cor", says=("--level=cor: there is no such level", "core, distributed")),
    "level in capitals": given("--level", "CORE", says="--level=CORE: there is no such level"),
    "level of commas": given("--level", ",,", says=f"--level=,,: {NOTHING}"),
    "level of nothing": given("--level=", says=f"--level=: {NOTHING}"),
    "level of blanks": given("--level=  ", says=NOTHING),
    "one level of two": given("--level=core,nope", says="--level=nope: there is no such level"),
    "level all": given("--level=all", says="--level=all: there is no such level"),
    "level without a value": given("--level", says="expected one argument"),
    "level of a clause": given("--level=TYPE-02", says=("--level=TYPE-02: there is no such level",)),
    "long level": given(f"--level={LONG}", says="there is no such level"),
}
NUMBERS: Mapping[str, Wrong] = {
    **{
        f"ranks {text!r}": given(f"--ranks={text}", says=(f"--ranks={text}", "between 1 and 64"))
        for text in ("0", "-1", "65", "", ",,", "1,0", "99999999999")
    },
    **{
        f"ranks {text!r}": given(f"--ranks={text}", says=(f"--ranks={text.split(',')[-1]}", "not a whole number"))
        for text in ("two", "1.5", "1,2,x", "1 2", "0x2")
    },
    "ranks of 5000 digits": given("--ranks=" + "9" * 5000, says="--ranks="),
    **{
        f"seed {text!r}": given(f"--seed={text}", says=(f"--seed={text}: that is not a whole number",))
        for text in ("", "x", "1.5")
    },
    "seed of 5000 digits": given("--seed=" + "9" * 5000, says="--seed="),
}
DEVICES: Mapping[str, Wrong] = {
    "cuda without a GPU": given("--device=cuda", says="--device=cuda: torch sees no usable GPU on this machine"),
    "device with a number": given("--device=cuda:0", says="--device=cuda:0: name a kind of device"),
    "device 7": given("--device=7", says="--device=7: name a kind of device"),
    "no device": given("--device=", says="name a kind of device"),
    "device tpu": given("--device=tpu", says="--device=tpu: torch sees no such device"),
    "device mps": given("--device=mps", says="--device=mps: torch sees no such device"),
    "device meta": given("--device=meta", says="--device=meta: torch sees no such device"),
    "device in capitals": given("--device=CUDA", says="--device=CUDA: torch sees no such device"),
    "long device": given(f"--device={LONG}", says="torch sees no such device"),
}
CHOICES: Mapping[str, Wrong] = {
    "clause with one digit": given("--clause=TYPE-2", says=("no clause 'TYPE-2'", "TYPE-02")),
    "clause in small letters": given("--clause=type-02", says=("no clause 'type-02'", "TYPE-02")),
    "no clause": given("--clause=", says=f"--clause=: {NOTHING}"),
    "clauses of commas": given("--clause=, ,", says=NOTHING),
    "one clause of two": given("--clause=TYPE-02,NOPE-01", says="no clause 'NOPE-01'"),
    "long clause": given(f"--clause={LONG}", says="The contract has no clause"),
    "clause of another level": given("--level=core", "--clause=DUR-01", says=("DUR-01", "durability")),
    "clause that nothing checks": given("--clause=META-11", says=("--clause=META-11: nothing checks it",)),
    "unknown case": given("--case=no such case", says="No case is called 'no such case'"),
    "no case": given("--case=", says=f"--case=: {NOTHING}"),
    "case of another clause": given(
        "--clause=FIN-12",
        "--case=ordinary_dtype_comes_back_bit_for_bit[int8-passed]",
        says="does not belong to the clauses or levels that were asked for",
    ),
    "case of another level": given(
        "--level=security",
        "--case=ordinary_dtype_comes_back_bit_for_bit[int8-passed]",
        says="does not belong to the clauses or levels that were asked for",
    ),
    "case with a typo": given(
        "--case=ordinary_dtype_comes_back_bit_for_bit[int8-pased]",
        says="Nearest: ordinary_dtype_comes_back_bit_for_bit[int8-passed]",
    ),
    "case as pytest names it": given(
        "--case=test_ordinary_dtype_comes_back_bit_for_bit[int8-passed]",
        says="Nearest: ordinary_dtype_comes_back_bit_for_bit[int8-passed]",
    ),
    "long case": given(f"--case={LONG}", says="No case is called"),
    "words that match nothing": given("-k", "nothing_is_called_so", says="No case is left to run"),
    "long words": given("-k", LONG, says="No case is left to run"),
    "words that do not parse": given("-k", "(", says="-k '(': the expression does not parse"),
    "marks that match nothing": given("-m", "slow", says="-m 'slow': no case has the mark 'slow'"),
    "marks that do not parse": given("-m", "a b", says="-m 'a b': the expression does not parse"),
    "words and a level without cases": given(
        "--level=security", "-k", "ordinary_dtype", says=("No case is left to run",)
    ),
    "everything deselected": given(
        "--level=core", "--deselect=dcp_conformance/suites", "--deselect=suites", says="No case is left to run"
    ),
    "path that is not there": given("nope.py", says="nope.py"),
    "second backend": given("reference_impl", says="reference_impl"),
    "explain without an id": given("--explain", says="expected one argument"),
    "explain of nothing": given("--explain=", says="no clause ''"),
    "explain of an unknown clause": given("--explain=TYPE-2", says=("no clause 'TYPE-2'", "TYPE-02")),
}
ENGINES: Mapping[str, Wrong] = {
    "unknown second engine": given("--second-engine=nope", says="--second-engine=nope cannot be used"),
    "no second engine": given("--second-engine=", says=f"--second-engine=: {NOTHING}"),
    "long second engine": given(f"--second-engine={LONG}", says="cannot be used"),
    "second engine without functions": given(
        "--second-engine=their_pair",
        says=("--second-engine=their_pair", "exports no save and load"),
        files={
            "their_pair.py": "from torch.distributed.checkpoint import FileSystemReader as Reader\n"
            "from torch.distributed.checkpoint import FileSystemWriter as Writer\n"
        },
    ),
    "second engine that does not import": given(
        "--second-engine=their_second",
        says=("--second-engine=their_second", "importing it failed"),
        files={"their_second.py": "raise ValueError('not today')\n"},
        shows_code=True,
    ),
    "second engine with a typo": given(
        "--second-engine=refrence_impl", says=("--second-engine=refrence_impl cannot be used", "reference_impl")
    ),
}
BACKEND_OPTIONS: Mapping[str, Wrong] = {
    "option without a value": given("--backend-option=threads", says="write KEY=VALUE"),
    "option without a name": given("--backend-option==4", says="write KEY=VALUE"),
    "empty option": given("--backend-option=", says="write KEY=VALUE"),
    "unknown option": given("--backend-option=thread=4", says=("has no option 'thread'", "thread_count")),
    "id as option": given("--backend-option=path=/x", says="has no option 'path'"),
    "option that is no name": given("--backend-option=a b=1", says="has no option 'a b'"),
    "option of no member": given(
        "--backend-option=serialization_format=zip", says="serialization_format is one of TORCH_SAVE, SAFETENSORS"
    ),
    "option twice": given(
        "--backend-option=thread_count=1", "--backend-option=thread_count=2", says="thread_count is given twice"
    ),
    "long option": given(f"--backend-option={LONG}=1", says="has no option"),
    "option without a writer": wrong(
        "their_engine --backend-option=a=1", "has no writer of its own", files={"their_engine.py": ENGINE}
    ),
}
KNOWN: Mapping[str, Wrong] = {
    "known failures that are not there": given("--known-failures=absent.toml", says=("absent.toml", "Check the path")),
    "known failures in a folder": given("--known-failures=.", says="cannot read"),
    "long known failures": given(f"--known-failures={LONG}", says="cannot read"),
    "no known failures": given("--known-failures=", says="--known-failures=: that names nothing"),
    "known failures without quotes": known("[[known]]\nclause = TYPE-02\n", "is not valid TOML"),
    "known failures of bytes": known(b"\xff\xfe\x00", "is not valid TOML"),
    "known failures without a reason": known('[[known]]\nclause = "TYPE-02"\n', "no reason"),
    "known failures without a clause": known('[[known]]\nreason = "x"\n', "no clause"),
    "known failures with an unknown field": known(
        '[[known]]\nclause = "TYPE-02"\nreason = "x"\nexpire = 2027-01-01\n', "Did you mean 'expires'?"
    ),
    "known failures of no release": known(
        '[[known]]\nclause = "TYPE-02"\nreason = "x"\ntorch = "new"\n', "torch names no releases"
    ),
    "known failures twice": known(2 * '[[known]]\nclause = "TYPE-02"\nreason = "x"\n', "is listed already"),
    "known failures of one bracket": known('[known]\nclause = "TYPE-02"\n', "with two brackets"),
    "known failures of an unknown clause": known(
        '[[known]]\nclause = "TYPE-2"\nreason = "x"\n', "there is no clause TYPE-2", "TYPE-02"
    ),
}
PYTEST: Mapping[str, Wrong] = {
    "no words": wrong((), "usage: dcp-conformance BACKEND"),
    "no backend": wrong("--level core", "--backend=NAME is missing"),
    "option with a typo": given("--levle=core", says=("unrecognized arguments", "--levle=core")),
    "workers that are no number": given("-n", "many", says="-n"),
    "fewer workers than none": given("-n", "-2", says="-n"),
    "plugin that is not there": given("-p", "no_such_plugin", says="no_such_plugin"),
    "settings that are not there": given("-c", "absent.ini", says="absent.ini"),
    "time limit of letters": given("--timeout=long", says="--timeout"),
    "command with a typo": wrong("explian TYPE-02", "explian", "explain"),
    "command after the backend": given("explain", says="explain"),
}
ROWS = {**LEVELS, **NUMBERS, **DEVICES, **CHOICES, **ENGINES, **BACKEND_OPTIONS, **KNOWN, **PYTEST}
