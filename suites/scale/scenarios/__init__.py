"""What ranks do for the tests of the level scale; they return observations, and judge nothing."""
