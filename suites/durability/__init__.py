"""The level durability. Crashes, power cuts, damaged data and concurrent use."""
