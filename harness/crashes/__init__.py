"""Every state that a crash may leave of a save, rebuilt, loaded and judged."""
