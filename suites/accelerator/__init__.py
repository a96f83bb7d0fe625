"""The level accelerator: what only a device with memory and queues of its own can show."""
