"""Tests of the judge: verdicts, evidence of use and blame, on ranks that are played by the test."""
