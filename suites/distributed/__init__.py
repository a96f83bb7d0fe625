"""The level distributed. Several ranks together: duplicates, resharding, sharded values, process groups."""
