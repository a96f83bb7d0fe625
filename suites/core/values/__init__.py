"""Values: dtypes, shapes, devices, bytes objects."""
