"""The model of one process: one tensor under test with its neighbours, beside an object, saved and loaded in some way.

The tensor under test is called the main one. Sizes are chosen against what real writers go by: a byte of bits, a page,
a stream buffer; counts against batches of a power of two.
"""

from __future__ import annotations

from dcp_conformance.harness.states.varied import Model, clash, factor, hiding, needing

SHAPES: dict[str, tuple[int, ...]] = {
    "line": (13,),
    "scalar": (),
    "empty": (0,),
    "hollow": (3, 0, 2),
    "one": (1,),
    "two": (2,),
    "table": (4, 5),
    "square": (6, 6),
    "cube": (2, 3, 4),
    "filter": (3, 2, 2, 5),
    "odd": (8193,),
    "large": (301, 300),
}
REAL = ("float32", "float64", "float16", "bfloat16")
WHOLE = ("int64", "int32", "int16", "int8", "uint8", "bool")
COMPLEX = ("complex64", "complex128")
WIDE = ("uint16", "uint64")
EIGHT = ("float8_e4m3fn",)
# See harness.states.known_formats.
FORMATS = ("archive", "pickle", "zlib", "gzip", "zstd")
ORDINARY = (*REAL, *WHOLE)

DTYPE = factor(
    "dtype",
    ("float32", "none: the dtype that everybody tries"),
    ("float64", "narrowed to float32 on the way"),
    ("float16", "widened or taken for bfloat16"),
    ("bfloat16", "numpy has no such type, so it goes another way"),
    ("int64", "narrowed to int32, or passed through a float"),
    ("int32", "a table of dtypes with a wrong line"),
    ("int16", "a table of dtypes with a wrong line"),
    ("int8", "taken for uint8"),
    ("uint8", "taken for raw bytes, and not unpacked"),
    ("bool", "packed into bits, of which the last byte is cut"),
    *needing("exotic_dtypes", ("complex64", "seen as pairs of reals"), ("complex128", "seen as pairs of reals"),
             ("uint16", "taken for int16"), ("uint64", "taken for int64"),
             ("float8_e4m3fn", "taken for uint8")),
)  # fmt: skip
SHAPE = factor(
    "shape",
    ("line", "none: a short vector"),
    ("scalar", "no dimension: an empty product, a list without end"),
    *hiding(("empty", "nothing to write: no object, no entry, a zero-sized map"),
            ("hollow", "nothing to write, though the first size is not 0")),
    ("one", "squeezed to a number, or broadcast"),
    ("two", "a batch of one, a pair taken for a range"),
    ("table", "rows and columns exchanged"),
    ("square", "rows and columns exchanged without a trace in the shape"),
    ("cube", "more than two dimensions: strides taken from the wrong end"),
    ("filter", "four dimensions, as of a convolution: a copy of boxes that ends at the third"),
    ("odd", "8k+1 elements, beyond a page: the last block of a loop"),
    ("large", "beyond a stream buffer: several writes, of which one is short"),
)  # fmt: skip
MEMORY = factor(
    "memory",
    ("own", "none: contiguous, in memory of its own"),
    ("slice", "an offset in the storage that is not looked at"),
    ("parameter", "a leaf that requires gradients: a copy into it is refused, or a graph is kept"),
    ("tied", "one tensor under two names: removed as a duplicate"),
    *needing("layouts", ("transposed", "bytes in the order of the memory, not of the indices"),
             ("every other", "gaps stored as if they were elements"),
             ("expanded", "stride 0: elements that the memory does not have"),
             ("conjugated", "a lazy bit that is lost"), ("negated", "a lazy bit that is lost"),
             ("shared", "a part of a neighbour's memory: stored whole, or once for both"),
             ("with its transpose", "two views of one memory: one buffer, or one entry, for both")),
)  # fmt: skip
CONTENT = factor(
    "content",
    ("noise", "none: all bits are used, NaN payloads too"),
    *hiding(("counting", "whole numbers in order: fits a compressor's delta"),
            ("zeros", "left out as if there were nothing to store"),
            ("ones", "all bits set: a sentinel, NaN in every float"),
            ("like its neighbours", "equal content: stored once, found by its hash"),
            ("archive", "begins like a zip archive or a pickle: guessed by its first bytes"),
            ("text", "line ends and text that a text mode translates")),
)  # fmt: skip
BESIDE = factor(
    "beside",
    ("alone", "none: one tensor"),
    ("twins", "others of equal shape and dtype: found by shape, written at one offset"),
    ("other dtypes", "others of equal shape, other dtype: one buffer for a shape"),
    ("turned", "others with as many bytes, in other shapes"),
    ("nine", "8k+1 small ones: the last of a batch is left out"),
    ("mixed sizes", "a large and an empty one before and after it: running offsets"),
    ("many", "more than any pool has workers, of three sizes"),
    ("known formats", "bytes that are a file of some format: guessed by their first bytes"),
)
KEY = factor(
    "key",
    ("words", "none: plain names"),
    ("dotted", "a dot taken for the way into a nested dict"),
    ("slashes", "a key as a folder of which another is a file"),
    ("spaces", "stripped names"),
    ("plus", "plus and space exchanged in a URL"),
    ("percent", "decoded once too often"),
    ("unicode", "normal forms: two keys that look alike"),
    ("case twins", "a file system without case"),
    ("prefixes", "found by startswith: layer.1 and layer.10"),
    ("long", "cut names that differ at the end only"),
    ("digits", "numbers: '1', '01' and '1.0'"),
    ("files", "names of the backend's own files"),
    ("nested", "a path of several levels"),
    ("list", "members of a list"),
    ("numbers", "int keys of a nested dict"),
)
OBJECT = factor(
    "object",
    ("none", "none: tensors only"),
    *needing(
        "objects",
        ("number", "a number of Python"),
        ("huge number", "beyond 64 bits"),
        ("nan", "a float that is not equal to itself"),
        ("text", "encoded by the locale, or its line ends translated"),
        ("empty text", "false, so it is not there"),
        ("bytes", "decoded as text"),
        ("list", "merged into the list of the template"),
        ("tuple", "turned into a list, as JSON does"),
        ("nothing", "None, so it is not there"),
        ("nested", "objects at several depths"),
        ("stream", "a BytesIO whose position is not at its start"),
        ("many objects", "8k+1 objects"),
        ("known formats", "bytes that begin like a file of a known format: guessed by their first bytes"),
    ),
    ("stateful", "asked for its state too late, twice, or never"),
    ("two statefuls", "two of one class: one state for both"),
)
STYLE = factor(
    "style",
    ("constructor", "none: the id is given to a new writer and a new reader"),
    ("passed", "the id is passed along: reset() is forgotten"),
    ("writer again", "a writer that has saved another id: state of the earlier save"),
    ("reader again", "a reader that has loaded another id: cached metadata or handles"),
    ("thread", "called in a thread that is not the main one"),
)
BEFORE = factor(
    "before",
    ("nothing", "none: a new id"),
    ("missing", "asked for before it was there: a negative answer that is kept"),
    ("failed write", "remains of a save whose write failed"),
    ("failed finish", "remains of a save whose commit failed"),
    ("deleted", "a checkpoint of that id was there and was deleted"),
    *needing("overwrite", ("same", "an overwrite with equal sizes: old data is kept as if it were new"),
             ("smaller", "an overwrite of smaller entries: old lengths"),
             ("larger", "an overwrite of larger entries: old tails"),
             ("more keys", "an overwrite with fewer keys: old ones stay"),
             ("other kinds", "tensors where objects were, and the other way round"),
             ("twice", "the third save of an id: two generations to clean up"),
             ("rearranged", "an overwrite by the same values in another order: taken for equal by their sum"),
             ("touched", "an overwrite that differs in one bit: taken for equal by a sample")),
)  # fmt: skip
LOADED = factor(
    "loaded",
    ("whole", "none: everything, once, in order"),
    *hiding(("main only", "a part: found by position instead of by name"),
            ("all but main", "a part: an offset that counts what was not asked for")),
    ("twice", "a second load through what the first one left"),
    ("one by one", "many loads of one checkpoint"),
    ("reversed", "another order of keys than that of the save"),
    ("strided", "a target that is not contiguous: flattened copies"),
    ("beside a save", "after a save of another id: state of the class or module"),
)  # fmt: skip

CLASHES = (
    clash("memory", ("parameter",), "dtype", (*WHOLE, *WIDE), "only real and complex numbers have gradients"),
    clash("memory", ("conjugated",), "dtype", (*REAL, *WHOLE, *WIDE, *EIGHT), "only complex numbers are conjugated"),
    clash("memory", ("negated",), "dtype", (*WHOLE, *WIDE, *EIGHT), "torch negates signed numbers lazily"),
    clash(
        "memory",
        ("transposed", "with its transpose"),
        "shape",
        ("scalar", "line", "empty", "one", "two", "odd"),
        "one dimension",
    ),
    clash("memory", ("every other", "expanded"), "shape", ("scalar",), "there is no dimension to step along"),
    clash("loaded", ("strided",), "shape", ("scalar",), "there is no dimension to step along"),
    clash("loaded", ("strided",), "memory", ("parameter",), "a leaf is not a view"),
)

# The plain option set is added by the driver, see `varied.options`.
ALONE = Model(
    factors=(DTYPE, SHAPE, MEMORY, CONTENT, BESIDE, KEY, OBJECT, STYLE, BEFORE, LOADED),
    clashes=CLASHES,
)
