"""What a check holds in its hands: the subject of a trial in the judge, the session on a rank."""
