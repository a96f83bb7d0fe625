"""What ranks do for the tests of the level compatibility; they return observations, and judge nothing."""
