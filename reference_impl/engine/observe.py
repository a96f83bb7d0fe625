"""What the public calls log: start, end or failure, with checkpoint id, an id of the call, rank and duration."""

from __future__ import annotations

import contextlib
import logging
import time
import uuid
from collections.abc import Iterator

import torch.distributed as dist

from dcp_conformance.reference_impl.files.naming import without_credentials
from dcp_conformance.reference_impl.ranks.envelopes import safe_text

#: No handler is attached: information needs one of the user's, and errors appear on standard error by Python's default.
logger = logging.getLogger("reference_impl")


@contextlib.contextmanager
def logged(call: str, checkpoint_id: object) -> Iterator[None]:
    """Log one call. Never fails it, whatever the id's ``str`` does."""
    context = f"{call} {without_credentials(safe_text(checkpoint_id))} [{uuid.uuid4().hex[:8]}, rank {_rank()}]"
    started = time.monotonic()
    logger.info("%s started", context)
    try:
        yield
    except BaseException as error:
        # The class only: the caller gets the error itself.
        logger.info("%s failed after %.3f s: %s", context, time.monotonic() - started, type(error).__name__)
        raise
    logger.info("%s done after %.3f s", context, time.monotonic() - started)


def _rank() -> int:
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0
