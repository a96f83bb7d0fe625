"""What the checks must cover, as data: dtypes, shapes, awkward keys. Enumerated by tests, shown on the certificate."""

from __future__ import annotations

from dcp_conformance.harness.states.layouts import LAYOUTS

ORDINARY_DTYPES = (
    "bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64",
)  # fmt: skip
# Where this torch lacks one, its case is untestable and says so.
EXOTIC_DTYPES = (
    "complex32", "complex64", "complex128", "uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e4m3fnuz",
    "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu", "float4_e2m1fn_x2",
)  # fmt: skip
# A scalar, nothing at all in three ways, a length that fills no byte of bits, and one beyond every small buffer.
SHAPES = ((), (0,), (3, 0, 2), (1,), (13,), (4, 5), (2, 3, 4))
LARGE_SHAPE = (1031, 1033)

# Keys are only keys: none of them may become a path, a pattern, or a query. (Those that would lead far out of a
# checkpoint are made by the check itself, which removes what they left.)
HOSTILE_KEYS = (
    "a/b", "a\\b", ".", "..", "", " ", "nul\0byte", "new\nline", "k?x=1#y%20", "$HOME", "*", "x" * 300,
    "\u00fc\u4e2d\u6587\U0001f511", "CON", "a:b", "commit", ".metadata",
)  # fmt: skip


def as_data() -> list[dict[str, object]]:
    """Return what the cases enumerate, for the certificate: lists of texts, each under its name."""
    shapes = (*SHAPES, LARGE_SHAPE)
    lists = {
        "dtypes": (*ORDINARY_DTYPES, *EXOTIC_DTYPES),
        "shapes": ["x".join(map(str, shape)) or "scalar" for shape in shapes],
        "keys": [ascii(key)[1:-1] for key in HOSTILE_KEYS],
        "layouts": [f"{layout.name}, {world} ranks" for world, layouts in LAYOUTS.items() for layout in layouts],
    }
    return [{"name": name, "values": list(values)} for name, values in lists.items()]
