"""Backends that cheat, attack the harness or try to keep a run from ending; none of them may hold a level."""
