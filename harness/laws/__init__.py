"""The verbs of a test: they judge, in the pytest process, what ranks observed."""
