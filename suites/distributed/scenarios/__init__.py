"""What ranks do for the tests of the level distributed; they return observations, and judge nothing."""
