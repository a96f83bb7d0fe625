"""What a crash may leave of a recorded save: a disk to play it on, and every lawful state of it."""
