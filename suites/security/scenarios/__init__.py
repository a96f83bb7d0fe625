"""What ranks do for the tests of the level security; they return observations, and judge nothing."""
