"""Wrong inputs of every kind: each is one sentence and exit code 4, or a run that says what it could not do."""
