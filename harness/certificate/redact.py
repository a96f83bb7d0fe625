"""Takes credentials out of texts before they are published. Hosts and paths stay.

What it cannot see: a secret with no name beside it and no known shape (forty random letters in a sentence). For
those the caller passes `secrets`, the literal values that it knows to be secret (options, environment variables).
"""

from __future__ import annotations

import json
import re
import shlex
import urllib.parse
from collections.abc import Iterable, Mapping

MARK = "[redacted]"

# Words that make a name a secret's wherever they stand in it, and words that do so in front of "key" only: plain
# "key" is what a state dict has, and redacting it would take the evidence away.
_SECRET_WORDS = frozenset(
    (
        *("secret", "secrets", "password", "passwd", "passphrase", "passcode", "pwd", "credential", "credentials"),
        *("signature", "sig", "sas", "auth", "authorization", "authentication", "cookie", "apikey", "accesskey"),
        *("secretkey", "privatekey", "accountkey", "sharedkey", "accesskeyid", "authtoken", "accesstoken"),
        *("sessiontoken",),
    )
)
_KEY_OWNERS = frozenset(
    (
        *("access", "secret", "api", "account", "shared", "private", "encryption", "storage", "customer", "auth"),
        *("signing", "master", "client", "host", "ssh", "aws", "gcs", "azure", "s3", "sas", "subscription"),
        *("service", "hmac", "session", "security"),
    )
)
# NoCredentialsError is followed by what went wrong, not by credentials.
_KINDS_OF_ERRORS = frozenset(("error", "exception", "warning", "failure", "failed", "denied", "expired", "missing"))
# "token" only at the end of a name, or before one of these: token_embedding.weight is a tensor.
_AFTER_TOKEN = frozenset(("value", "string", "id", "header", "secret"))
# A literal shorter than this would blank ordinary words all over a report.
_SHORTEST_LITERAL = 4
# A value that nothing but its origin makes secret must be longer, and one shorter than this may be a part of a word.
_SHORTEST_TEXT, _SURELY_NO_WORD = 6, 8

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
# An encoded ? or & before the name is not part of it.
_NAME_BEFORE = re.compile(r"(?:%[0-9A-Fa-f]{2})?([A-Za-z][A-Za-z0-9_.\-]{0,99})\Z")
# Between a name and its value: = : => and their percent-encoded forms, the comma of a ("name", "value") pair, or
# the blank after --name. Backslashes are those of JSON inside a string.
_BETWEEN = re.compile(
    r"""\\{0,4}["']?\s{0,8}(?:=>|[=:]|%3[AaDd])\s{0,8}|\\{0,4}["']\s{0,8},\s{0,8}(?=\\{0,4}[bru]?["'])|(?<=\w)[ \t]+"""
)
_VALUE = re.compile(
    r"""\\{1,4}"(?:(?!\\{1,4}").)*(?:\\{1,4}")?"""
    r"""|[bru]?"(?:[^"\\\n]|\\.)*"?|[bru]?'(?:[^'\\\n]|\\.)*'?|(?:\[redacted\]|(?!%26)[^\s&;,"'<>)\]}])+""",
    re.DOTALL,
)

_SHAPES: tuple[tuple[re.Pattern[str], str], ...] = (
    # PEM, whole or cut off at the end. "\n" may be spelled out.
    (re.compile(r"-----BEGIN [A-Z0-9 ]+-----.*?(?:-----END [A-Z0-9 ]+-----|\Z)", re.DOTALL), MARK),
    # User info in a URL; a password may hold a bare slash, but host:port/path@version must stay.
    (re.compile(r"(?i)\b([a-z][a-z0-9+.\-]{0,30}://)[^\s/?#\"'<>]*@"), rf"\1{MARK}@"),
    (
        re.compile(r"(?i)\b([a-z][a-z0-9+.\-]{0,30}://)[^\s/?#@:]{0,300}:(?!\d{1,5}[/?#])[^\s@\"'<>]{1,300}@"),
        rf"\1{MARK}@",
    ),
    (re.compile(r"(?i)\b((?:proxy-)?authorization\\{0,4}[\"']?\s*[:=]\s*\\{0,4}[\"']?)[^\"'\n]+"), rf"\1{MARK}"),
    (re.compile(r"(?i)\b(bearer\s+)[^\s\"',;]+"), rf"\1{MARK}"),
    (re.compile(r"\b(Basic\s+)[A-Za-z0-9+/]{8,}={0,2}"), rf"\1{MARK}"),
    # Shapes that are published by their makers: AWS key ids, GitHub, Google, Slack, Hugging Face, JSON web tokens.
    (re.compile(r"(?<![A-Za-z0-9])(?:AKIA|ASIA|AROA|AIDA|ABIA|ACCA|AGPA|ANPA|ANVA|APKA)[A-Z0-9]{12,}"), MARK),
    (re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{16,}|github_pat_\w{16,}|hf_[A-Za-z0-9]{16,}|xox[a-z]-[\w-]{10,})"), MARK),
    (re.compile(r"\b(?:AIza[\w-]{30,}|ya29\.[\w-]{10,}|eyJ[\w-]{8,}\.[\w-]{4,}\.[\w-]*)"), MARK),
)
_PEM_END = re.compile(r"-----END [A-Z0-9 ]+-----")
_PEM_BREAK = re.compile(r"((?:\s|\\[nr])+)")
_BASE64 = re.compile(r"[A-Za-z0-9+/=]*")
_BASE64_END = re.compile(r"[A-Za-z0-9+/=]{16,}\Z")


def redact(text: str, *, secrets: Iterable[str] = ()) -> str:
    """`text` without credentials: user info and signed queries of URLs, named secrets, tokens, PEM blocks.

    `secrets` are literal values to take out as well (shorter than four characters: ignored). Redacting twice gives
    the same text as redacting once.
    """
    spellings = {spelling for secret in secrets if len(secret) >= _SHORTEST_LITERAL for spelling in _spellings(secret)}
    for spelling in sorted(spellings, key=len, reverse=True):
        text = _without(text, spelling)
    for pattern, replacement in _SHAPES:
        text = pattern.sub(replacement, text)
    return _redact_named(_redact_pem_tails(text))


def given_values(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the values that a backend's start() gave, for `secrets=`: whatever they are called, they are private.

    Numbers, truth values and very short texts stay readable: they would take the sense out of every sentence.
    """
    given = [value for name, value in environment.items() if is_secret_option(name) or not _is_plain(value)]
    return tuple(sorted(set(given)))


def redact_mapping(options: Mapping[str, object], *, secrets: Iterable[str] = ()) -> dict[str, str]:
    """Options as texts: the value of a secret's name is gone, every other value is redacted as text."""
    known = tuple(secrets)
    return {
        redact(str(name), secrets=known): MARK if is_secret_option(str(name)) else redact(str(value), secrets=known)
        for name, value in options.items()
    }


def secret_values(options: Mapping[str, object]) -> tuple[str, ...]:
    """Return the values of the options (or environment variables) that are named like secrets, for `secrets=`."""
    return tuple(sorted({str(value) for name, value in options.items() if is_secret_option(str(name)) and str(value)}))


def is_secret_name(name: str) -> bool:
    """Does a name in running text smell of a secret: `secret_key`, `X-Amz-Signature`, `sessionToken`; not `key`."""
    words = [word.lower() for word in _WORD.findall(name)]
    if words and words[-1] in _KINDS_OF_ERRORS:
        return False
    keys = [index for index, word in enumerate(words) if word in ("key", "keys")]
    owned = any(owner in _KEY_OWNERS for index in keys for owner in words[max(0, index - 2) : index])
    letters = [word for word in words if not word.isdigit()]
    token = any(
        word == "token" and (index == len(letters) - 1 or letters[index + 1] in _AFTER_TOKEN)
        for index, word in enumerate(letters)
    )
    return owned or token or any(word in _SECRET_WORDS for word in letters)


def is_secret_option(name: str) -> bool:
    """As `is_secret_name`, and stricter: an option or variable whose name ends with key or pass is a secret's too."""
    words = [word.lower() for word in _WORD.findall(name)]
    return is_secret_name(name) or bool(words and words[-1] in ("key", "keys", "pass"))


def _is_plain(value: str) -> bool:
    return len(value) < _SHORTEST_TEXT or value.lower() in ("true", "false") or bool(re.fullmatch(r"[\d.,:+-]*", value))


def _without(text: str, secret: str) -> str:
    """`text` with the mark for a secret; a short one only where it is a word of its own, not a part of others."""
    if len(secret) >= _SURELY_NO_WORD:
        return text.replace(secret, MARK)
    return re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", lambda _: MARK, text)


def _spellings(secret: str) -> tuple[str, ...]:
    """Return how one secret may be written: as it is, quoted for a shell, in JSON, as a Python literal, in a URL."""
    return (
        secret,
        shlex.quote(secret).removeprefix("'").removesuffix("'"),
        json.dumps(secret)[1:-1],
        repr(secret)[1:-1],
        urllib.parse.quote(secret, safe=""),
        urllib.parse.quote(secret),
    )


def _redact_pem_tails(text: str) -> str:
    """Blank what is left of a PEM block whose beginning was cut off, as in the tail of a log."""
    pieces, done = [], 0
    for end in _PEM_END.finditer(text):
        pieces += [_before_body(text[done : end.start()]), MARK]
        done = end.end()
    return "".join([*pieces, text[done:]])


def _before_body(text: str) -> str:
    """`text` without the base64 lines at its end. Line by line: one pattern for it would take quadratic time."""
    lines = _PEM_BREAK.split(text)
    index, may_be_short = len(lines) - 1, True  # the last line of a body is a short one
    while index >= 0 and _BASE64.fullmatch(lines[index]) and (len(lines[index]) >= 16 or may_be_short):
        may_be_short = may_be_short and not lines[index]
        index -= 2  # over the line break between
    if index < 0:
        return ""
    cut = _BASE64_END.search(lines[index])
    return "".join(lines[:index]) + lines[index][: cut.start()] if cut else "".join(lines[: index + 2])


def _redact_named(text: str) -> str:
    """Blank the value after every `name=value`, `"name": "value"`, `("name", "value")` and `--name value`."""
    pieces, done, position = [], 0, 0
    while between := _BETWEEN.search(text, position):
        position = between.end()
        name = _NAME_BEFORE.search(text[max(done, between.start() - 100) : between.start()])
        if name is None or not is_secret_name(name[1]) or (between[0].isspace() and not _is_flag(text, between, name)):
            continue
        value = _VALUE.match(text, between.end())
        if value and value[0].strip("\"'\\") not in ("", MARK):
            pieces += [text[done : between.end()], _blanked(value[0])]
            done = position = value.end()
    return "".join([*pieces, text[done:]])


def _is_flag(text: str, between: re.Match[str], name: re.Match[str]) -> bool:
    start = between.start() - len(name[1])
    return text[max(0, start - 2) : start] == "--"


def _blanked(value: str) -> str:
    """Return the mark in the quotes of the value, so that JSON stays JSON."""
    opening = re.match(r"\\*[bru]?[\"']", value)
    closing = re.search(r"\\*[\"']\Z", value) if opening and len(value) > len(opening[0]) else None
    return (opening[0] if opening else "") + MARK + (closing[0] if closing else "")
