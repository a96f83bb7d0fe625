"""Pure functions over values and boxes: shards, dtypes, nesting, overlaps."""
