"""The level core. What every backend needs: planning, writing, committing, reading, values."""
