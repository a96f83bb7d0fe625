"""What ranks do for the tests of the level asynchronous; they return observations, and judge nothing."""
