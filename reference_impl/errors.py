"""Errors of this package. Each takes one text, so that it survives pickling between ranks."""

from __future__ import annotations


class CorruptCheckpointError(ValueError):
    """Stored bytes are not what was saved, or say something impossible."""


class UnreadableObjectError(CorruptCheckpointError):
    """The bytes of an object give no object: damaged with no checksum to tell, or made with code that is not here."""


class UnknownVersionError(ValueError):
    """The metadata has a version that this package does not know."""


class ConcurrentSaveError(RuntimeError):
    """Another save committed to the same checkpoint while this one ran."""


class RankMissingError(RuntimeError):
    """A rank did not take part in a step that all ranks of the operation take together."""


class DifferentCheckpointsError(RuntimeError):
    """The ranks of one load see different checkpoints under one id."""
