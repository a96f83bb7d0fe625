"""The exception that means: the cluster itself failed, which says nothing about the code under test."""

from __future__ import annotations


class ClusterError(Exception):
    """The fork server or a world could not be started or was lost; the text holds the last lines of its log."""


class ServerLost(ClusterError):
    """The fork server ended, or no longer answers, while it was in use.

    Only code that runs below it, or somebody on this machine, can have seen to that.
    """
