"""End-to-end tests of the plugin: the command against small backends, in a program of its own."""
