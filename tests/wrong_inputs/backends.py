"""Backends that cannot be used: names that lead nowhere, modules that hold nothing, records that say nonsense."""

from __future__ import annotations

from collections.abc import Mapping

from tests.wrong_inputs.wrong import LONG, Wrong, pair, wrong

RECORD = "from dcp_conformance import Backend\n"
FROM_TORCH = "from torch.distributed.checkpoint import FileSystemReader, FileSystemWriter, StorageWriter\n"


def module(source: str | bytes, *says: str, **fields: object) -> Wrong:
    """A module `theirs` with that content."""
    return wrong("theirs", *says, files={"theirs.py": source}, **fields)


def record(fields: str, *says: str) -> Wrong:
    """A storage pair with a record of those fields."""
    return module(f"{pair()}{RECORD}backend = Backend({fields})\n", *says)


NAMES: Mapping[str, Wrong] = {
    "unknown name": wrong("nope", "--backend=nope: there is no such backend", "no 'nope' is there"),
    "our name with a typo": wrong("refrence_impl", "Nearest names: reference_impl"),
    "their name with a typo": wrong("my_sotre", "Nearest names: my_store", files={"my_store.py": pair()}),
    "their submodule with a typo": wrong(
        "their_pkg.storge",
        "it has no module 'storge'",
        "Nearest names: their_pkg.storage",
        files={"their_pkg/__init__.py": "", "their_pkg/storage.py": pair()},
    ),
    "torch with a typo": wrong("torch.distributed.chekpoint", "Nearest names: torch.distributed.checkpoint"),
    "adapter with a typo": wrong("s3torchconector", "Nearest names: s3torchconnector"),
    "name with dashes": wrong("their-store", "Nearest names: their_store", files={"their_store.py": pair()}),
    "empty name": wrong(("",), "--backend=NAME is missing"),
    "name of blanks": wrong(("  ",), "--backend is empty"),
    "name with a line break": wrong(("a\nb",), "there is no such backend"),
    "name of dots": wrong("..", "there is no such backend"),
    "name that ends in a dot": wrong("theirs.", "there is no such backend", files={"theirs.py": pair()}),
    "relative name": wrong(".theirs", "there is no such backend", files={"theirs.py": pair()}),
    "name that is a keyword": wrong("import", "there is no such backend"),
    "long name": wrong((LONG,), "there is no such backend"),
    "long file": wrong((f"{LONG}.py",), "there is no file"),
    "long path": wrong(("a/" * 2500 + "x.py",), "there is no file"),
    "long attribute": wrong((f"theirs:{LONG}",), "holds nothing", files={"theirs.py": pair()}),
    "name of another alphabet": wrong("хранилище", "there is no such backend"),
    "file that is not there": wrong(
        "absent.py", "there is no file", "Python files there: near.py", files={"near.py": ""}
    ),
    "file in no folder": wrong("nowhere/absent.py", "its folder does not exist either"),
    "folder": wrong("./sub", "is a folder", "--backend=sub", files={"sub/": ""}),
    "file that is no Python": wrong("./notes.txt", "is not a .py file", files={"notes.txt": ""}),
    "file in a file": wrong("notes.txt/x.py", "there is no file", files={"notes.txt": ""}),
    "attribute of two words": wrong(("theirs:two words",), "is not an attribute name", files={"theirs.py": pair()}),
    "attribute of nothing": wrong("theirs:", "is not an attribute name", files={"theirs.py": pair()}),
    "two colons": wrong("theirs:a:b", "there is no such backend", files={"theirs.py": pair()}),
    "attribute that is not there": wrong("theirs:nothing", "holds nothing in 'nothing'", files={"theirs.py": pair()}),
    "attribute with a typo": wrong(
        "theirs:bakend",
        "holds nothing in 'bakend'",
        "Nearest names: backend",
        files={"theirs.py": pair() + RECORD + "backend = Backend(name='x', writer=Writer, reader=Reader)\n"},
    ),
    "writer alone": wrong("theirs:Writer", "no Backend record in 'Writer'", files={"theirs.py": pair()}),
    "writer with a comma": wrong("theirs:Writer,", "is not an attribute name", files={"theirs.py": pair()}),
    "three classes": wrong("theirs:A,B,C", "is not an attribute name", files={"theirs.py": pair()}),
    "pair the wrong way round": wrong(
        "theirs:Reader,Writer", "Reader is not a StorageWriter class", files={"theirs.py": pair()}
    ),
    "pair with a typo": wrong("theirs:Writer,Raeder", "has no 'Raeder'", "Writer, Reader", files={"theirs.py": pair()}),
}
MODULES: Mapping[str, Wrong] = {
    "empty module": module("", "nothing to test in theirs", "Backend record"),
    "module that does not parse": module("def save(:\n", "importing it failed", "SyntaxError", shows_code=True),
    "module of bytes": module(b"\xff\xfe\x00\x01", "importing it failed", "SyntaxError", shows_code=True),
    "module that needs another": module(
        "import not_there_at_all\n", "No module named 'not_there_at_all'", shows_code=True
    ),
    "module that raises": module("raise ValueError('not today')\n", "ValueError: not today", shows_code=True),
    "module that raises without a text": module("raise KeyError\n", "importing it failed: KeyError", shows_code=True),
    "module whose error has no text": module(
        "class Odd(Exception):\n    def __str__(self): raise ValueError\nraise Odd\n",
        "importing it failed",
        shows_code=True,
    ),
    "module that recurses": module("def f(): f()\nf()\n", "RecursionError", shows_code=True),
    "module that exits": module("raise SystemExit(0)\n", "ended the program by SystemExit(0)", shows_code=True),
    "module that exits by sys.exit": module(
        "import sys\nsys.exit('bye')\n", "ended the program by SystemExit('bye')", shows_code=True
    ),
    "module that interrupts": module(
        "raise KeyboardInterrupt\n", "importing it failed: KeyboardInterrupt", shows_code=True
    ),
    "module that skips": module(
        "import pytest\npytest.skip('x', allow_module_level=True)\n", "importing it failed", shows_code=True
    ),
    "module that asks": module("input('name: ')\n", "importing it failed: EOFError", shows_code=True, real=True),
    "module that imports itself in a circle": module("import theirs_too\n", "partially initialized", shows_code=True)
    if False
    else wrong(
        "theirs",
        "importing it failed: ImportError",
        shows_code=True,
        files={"theirs.py": "from theirs_too import a\nb = 1\n", "theirs_too.py": "from theirs import b\na = 1\n"},
    ),
    "relative import without a package": module(
        "from .other import x\n", "importing it failed: ImportError", shows_code=True
    ),
    "async save": module(
        "async def save(state_dict, *, checkpoint_id): ...\nasync def load(state_dict, *, checkpoint_id): ...\n",
        "nothing to test in theirs",
        "save is `async def`: DCP calls it without await",
    ),
    "save that takes no id": module(
        "def save(state): ...\ndef load(state): ...\n", "save is exported, but is not DCP's", "no checkpoint_id"
    ),
    "save without load": module(
        "def save(state_dict, *, checkpoint_id): ...\n", "nothing to test in theirs", "it has save, and no load"
    ),
    "save that is no function": module(
        "save = 'x'\nload = 'y'\n", "nothing to test in theirs", "save is text (a str), and no function"
    ),
    "text instead of a record": module(
        "backend = '(Died(rank=0, signal=6))'\n", "`backend` is text (a str), and no Backend record"
    ),
    "dict instead of a record": module("backend = {'name': 'x'}\n", "`backend` is a dict, and no Backend record"),
    "class instead of a record": module(RECORD + "backend = Backend\n", "`backend` is a class, and no Backend record"),
    "named text instead of a record": wrong(
        "theirs:thing", "holds no Backend record in 'thing'", files={"theirs.py": "thing = 'x'\n"}
    ),
    "writer only": module(pair() + "del Reader\n", "It has no reader"),
    "writer only, beside torch's": module(
        FROM_TORCH + "class Mine(FileSystemWriter): ...\n", "readers: none", "theirs:Mine,FileSystemReader"
    ),
    "two pairs": module(
        pair("Fast") + pair("Slow"), "it is not clear which classes", "--backend=theirs:FastWriter,FastReader"
    ),
    "abstract writer": module(
        FROM_TORCH + "class Half(StorageWriter):\n    def reset(self, checkpoint_id=None): ...\n",
        "Half is abstract: it does not define finish",
    ),
    "torch's pair only": module(
        FROM_TORCH, "imported from elsewhere", "--backend=theirs:FileSystemWriter,FileSystemReader"
    ),
    "default pair of text": module(
        pair("My") + pair("Other") + "DEFAULT_PAIR = 'MyWriter'\n", "DEFAULT_PAIR must hold the names of two classes"
    ),
    "default pair with a typo": module(pair("My") + "DEFAULT_PAIR = ('MyWritr', 'MyReader')\n", "has no 'MyWritr'"),
    "writer without an argument": module(pair() + "Writer.__init__ = lambda self: None\n", "Writer"),
    "writer that needs more": module(
        pair() + "Writer.__init__ = lambda self, path, region: None\n", "needs region beside its first argument"
    ),
    "unknown capability": module(
        pair() + "UNSUPPORTED = {'overwriting': 'x'}\n", "unknown capability, 'overwriting'. Did you mean overwrite"
    ),
    "capabilities without reasons": module(
        pair() + "UNSUPPORTED = ['overwrite']\n", "UNSUPPORTED is a list; it must map"
    ),
    "capability without a reason": module(
        pair() + "UNSUPPORTED = {'overwrite': ''}\n", "UNSUPPORTED['overwrite'] gives no reason"
    ),
    "unknown offer": module(pair() + "OFFERS = ['dropin']\n", "unknown offer, 'dropin'. Did you mean drop_in?"),
}
RECORDS: Mapping[str, Wrong] = {
    "record of half a pair": record("name='x', writer=Writer", "has a writer but no reader"),
    "record of nothing": record("name='x'", "has nothing to test"),
    "record with a number for a name": record("name=3, writer=Writer, reader=Reader", "The name of a Backend is text"),
    "record with a typo": module(
        pair() + RECORD + "backend = Backend(name='x', writter=Writer, reader=Reader)\n", "writter", shows_code=True
    ),
    "record with text for a writer": record("name='x', writer='Writer', reader=Reader", "writer must be callable"),
    "record without patience": record(
        "name='x', writer=Writer, reader=Reader, patience=0", "patience must be a number above 0"
    ),
    "record of endless patience": record("name='x', writer=Writer, reader=Reader, patience=1e9", "patience must be"),
    "record with text for start": record(
        "name='x', writer=Writer, reader=Reader, start='run.sh'", "start must be callable"
    ),
    "record that offers what it lacks": record(
        "name='x', writer=Writer, reader=Reader, offers=('extensions',), unsupported={'extensions': 'none'}",
        "both offers 'extensions' and opts out of it",
    ),
    "record with text for option sets": record(
        "name='x', writer=Writer, reader=Reader, option_sets='fast'", "option_sets"
    ),
    "record with an unknown setting": record(
        "name='x', writer=Writer, reader=Reader, option_sets=({'fast': True},)", "option_sets", "fast"
    ),
}
# What only a process of its own can survive.
ENDINGS: Mapping[str, Wrong] = {
    "module that aborts": module(
        "import os\nos.abort()\n", "while it was being imported, the process ended by signal 6", real=True
    ),
    "module that ends the process": module(
        "import os\nos._exit(3)\n", "while it was being imported, the process ended with exit code 3", real=True
    ),
    "module that prints": module(
        "print('hello ' * 3, flush=True)\nraise ValueError('no')\n", "ValueError: no", shows_code=True, real=True
    ),
    "module that closes its output": module(
        "import os\nos.close(1)\nos.close(2)\nraise ValueError('no')\n", "ValueError: no", shows_code=True, real=True
    ),
    "server that does not start": module(
        pair() + RECORD + "def start(): raise OSError('no port')\n"
        "backend = Backend(name='x', writer=Writer, reader=Reader, start=start)\n",
        "start() failed",
        "OSError: no port",
        real=True,
        shows_code=True,
    ),
    "server of nonsense": module(
        pair() + RECORD + "backend = Backend(name='x', writer=Writer, reader=Reader, start=lambda: 'x')\n",
        "start() returned",
        real=True,
    ),
}
ROWS = {**NAMES, **MODULES, **RECORDS, **ENDINGS}
