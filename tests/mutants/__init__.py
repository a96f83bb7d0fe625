"""Mutants: backends broken on purpose, each with one realistic bug that one clause (and few others) must catch.

A module holds the mutants of one area. Each is a Backend record in an attribute; `BREAKS` maps its name to the clauses
that must catch it. Run one by hand from the root of the clone:

    dcp-conformance tests.mutants.values:loses_sign_of_zero --clause TYPE-02
"""
