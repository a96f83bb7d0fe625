"""The level accelerator. What only a GPU can show."""
