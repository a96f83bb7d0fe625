"""Mutants: backends broken on purpose, each with one realistic bug that one clause (and few others) must catch.

A module holds the mutants of one area. Each is a Backend record in an attribute, made by a helper that takes the
clauses which must catch it: `name = storage(breaks=["FIN-06"], writer=...)`.

Run one by hand from the root of the clone:

    dcp-conformance tests.mutants.values:loses_sign_of_zero --clause TYPE-02
"""
