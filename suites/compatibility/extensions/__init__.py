"""Extensions: stream transforms."""
