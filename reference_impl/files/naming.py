"""Names: of the files in a checkpoint folder, which of them may be removed, and of a checkpoint without its secrets."""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

METADATA = ".metadata"
_DATA = re.compile(r"__(\d+)_(\d+)(\.[0-9a-f]{12})?\.distcp$")
_RANK_METADATA = re.compile(r"__(\d+)\.metadata$")
_TEMPORARY = re.compile(r"(__\d+)?\.metadata(\.[0-9a-f]{12})?\.tmp$")


def metadata_name(rank: int | None = None) -> str:
    """Name of the metadata file; with a rank, of the metadata of a rank that saved alone."""
    return METADATA if rank is None else f"__{rank}{METADATA}"


def temporary_name(name: str, token: str) -> str:
    """Name under which a file is made before it is renamed to ``name``."""
    return f"{name}.{token}.tmp"


def data_prefix(rank: int) -> str:
    """Return the first part of the names of a rank's data files."""
    return f"__{rank}_"


def data_name(prefix: str, number: int, token: str) -> str:
    """Name of a data file. It carries the token of its save, so that no save ever writes over data of another."""
    return f"{prefix}{number}.{token}.distcp"


def token_of(save_id: str) -> str:
    """Return the part of a save id that file names carry: 12 hexadecimal digits."""
    # 48 bits of a random id: enough to tell the saves of one folder apart, and short in a listing.
    return save_id.replace("-", "")[:12]


def is_data(name: str) -> bool:
    """Tell whether torch or this package would give a data file this name."""
    return _DATA.match(name) is not None


def is_data_of(name: str, rank: int) -> bool:
    """Tell whether this is the name of a data file of ``rank``."""
    match = _DATA.match(name)
    return match is not None and int(match[1]) == rank


def is_rank_metadata(name: str) -> bool:
    """Tell whether this is the metadata of a rank that saved alone."""
    return _RANK_METADATA.match(name) is not None


def is_temporary(name: str) -> bool:
    """Tell whether this is metadata that was never committed."""
    return _TEMPORARY.match(name) is not None


def without_credentials(address: str) -> str:
    """Return an address without user and password: it appears in messages and in the metadata."""
    try:
        parts = urlsplit(address)
    except ValueError:  # no address after all, such as "//[x": nothing to take out
        return address
    if "@" not in parts.netloc:
        return address
    # From the right: a password may hold an @ of its own.
    return urlunsplit(parts._replace(netloc=parts.netloc.rsplit("@", 1)[1]))
