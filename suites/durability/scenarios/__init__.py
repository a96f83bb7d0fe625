"""What ranks do for the tests of the level durability; they return observations, and judge nothing."""
