"""What ranks do for the tests of the level failure; they return observations, and judge nothing."""
