"""Ways to break things, one room for each layer of the stack: storage API, process, file system, stored bytes."""
