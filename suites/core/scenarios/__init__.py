"""What ranks do for the tests of the level core; they return observations, and judge nothing."""
