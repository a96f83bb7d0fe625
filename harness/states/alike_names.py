"""Names of which each is another one, and which a store might take for one: of keys, and of checkpoints.

They are folded by case, by normal forms of text, by ends that some systems drop, by escapes that are undone, by paths
that are resolved, and by being cut.
"""

from __future__ import annotations

# Longer than a name of a file may be; they differ at one end, or in the middle.
_LONG = ("n" * 300 + "1", "n" * 300 + "2", "1" + "n" * 300, "2" + "n" * 300, f"{'n' * 150}3{'n' * 150}")

KEYS = (
    "caf\u00e9", "cafe\u0301", "\u212b", "\u00c5", "A\u030a", "\ufb01n", "fin", "\u00df", "ss",
    "layer", "Layer", "LAYER", "zero\u200bwidth", "zerowidth", "1", "01", "1.0", "\uff11", "end", "end ", "end.",
    " end", "x/y", "x//y", "x/./y", "x/y/", "/x/y", "x/z/../y", "./x/y", "x\\y", "x%2Fy", "x%2fy", "x%252Fy", "x_y",
    "x-y", "x+y", "x y", "x%20y", "x.y", *_LONG,
)  # fmt: skip

# What every store can tell apart that takes more than one checkpoint. Of each pair that might be one, one stands at an
# even place and one at an odd one: only the former are overwritten.
IDS = (
    "step-1", "Step-1", "STEP-1", "step-10", "step-01", "step-1.tmp", "step_1", "step-1.old", "step.1", "step-1.bak",
    "step1", "step-1-", "n" * 120 + "1", "n" * 120 + "2",
)  # fmt: skip
# What is a name of its own on a file system, and need not be one in an address.
PATHS = (
    "caf\u00e9", "cafe\u0301", "\ufb01n", "fin", "\u00df", "ss", "end", "end ", "end.", " end",
    "x/y", "x%2Fy", "x%2fy", "x%252Fy", "x+y", "x y", "x%20y", ".step-1", "step-1~",
)  # fmt: skip
