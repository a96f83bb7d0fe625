"""The level failure. What every rank learns when one of them fails."""
