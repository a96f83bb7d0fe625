"""Who works together: guarded steps of a group of ranks, and failures that travel between them."""
