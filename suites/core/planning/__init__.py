"""Planning: the local save plan."""
