"""One pytest process: options, collection, its part of a run and its end."""
