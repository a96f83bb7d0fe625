from __future__ import annotations

import json
import shlex
import string
import urllib.parse

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dcp_conformance.harness.certificate.redact import (
    MARK,
    given_values,
    is_secret_option,
    redact,
    redact_mapping,
    secret_values,
)

# Secrets as people have them; the tricky letters are those that quote, escape or end things.
SECRETS = st.text(string.ascii_letters + string.digits + "/+=_-.", min_size=8, max_size=40).map(
    lambda text: f"Zq{text}"
)
TRICKY = st.text(string.ascii_letters + string.digits + " /+'\"\\&=@:%", min_size=6, max_size=30)
NAMES = st.sampled_from(
    [
        "password",
        "PASSWORD",
        "secret",
        "token",
        "api_key",
        "apiKey",
        "aws_secret_access_key",
        "AWS_SESSION_TOKEN",
        "account_key",
        "AccountKey",
        "X-Amz-Signature",
        "X-Amz-Credential",
        "X-Amz-Security-Token",
        "X-Goog-Signature",
        "sig",
        "client_secret",
        "auth",
        "private_key",
        "s3.secret-key",
        "db_passwd",
        "credentials",
        "connection.password",
        "session_token_id",
        "authToken",
    ]
)
PLANTED = {
    "plain pair": lambda name, secret: f"open({name}={secret}, retry=3)",
    "colon": lambda name, secret: f"{name}: {secret}\nnext line",
    "arrow": lambda name, secret: f"{name} => {secret};",
    "query": lambda name, secret: f"GET https://host/path?part=1&{name}={urllib.parse.quote(secret, safe='')}&x=2",
    "encoded query": lambda name, secret: f"redirect=%2Fx%3F{name}%3D{urllib.parse.quote(secret, safe='')}%26y%3D1",
    "json": lambda name, secret: json.dumps({"a": 1, name: secret, "b": 2}),
    "indented json": lambda name, secret: json.dumps({"a": 1, name: secret}, indent=2),
    "json in json": lambda name, secret: json.dumps({"body": json.dumps({name: secret, "b": 2})}),
    "repr of a dict": lambda name, secret: repr({name: secret, "b": 2}),
    "repr of bytes": lambda name, secret: repr({name: secret.encode()}),
    "repr of items": lambda name, secret: repr([("a", 1), (name, secret)]),
    "inside a quoted value": lambda name, secret: (
        f'url="https://host/path?{name}={urllib.parse.quote(secret, safe="")}"'
    ),
    "flag": lambda name, secret: f"tool --{name} {shlex.quote(secret)} --verbose",
    "flag with sign": lambda name, secret: f"tool --{name}={secret} --verbose",
}


@pytest.mark.parametrize("form", PLANTED)
@settings(max_examples=40, derandomize=True, deadline=None)
@given(name=NAMES, secret=SECRETS)
def test_a_planted_secret_never_survives(form, name, secret):
    text = redact(PLANTED[form](name, secret))
    assert secret not in text
    assert urllib.parse.quote(secret, safe="") not in text
    assert MARK in text
    # No tail of it either; a random secret may end like the words around it.
    assert secret[4:] not in text.replace(name, "").replace(MARK, "")


@settings(max_examples=100, derandomize=True, deadline=None)
@given(secret=TRICKY.filter(lambda text: len(text.strip()) > 3 and any(letter.isalpha() for letter in text)))
@example(secret="a'b\"c d")
def test_a_known_secret_never_survives_however_it_is_written(secret):
    spellings = [secret, shlex.quote(secret), json.dumps(secret), repr(secret), urllib.parse.quote(secret, safe="")]
    text = "\n".join(f"seen: <{spelling}>" for spelling in spellings)
    assert secret not in redact(text, secrets=(secret,))
    assert redact(text, secrets=(secret,)).count(MARK) == len(spellings)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(user=SECRETS, password=SECRETS)
def test_user_info_never_survives_and_the_place_does(user, password):
    for info in (f"{user}:{password}@", f"{user}@", f":{password}@"):
        text = redact(f"cannot reach <s3://{info.replace('/', '')}host:9000/bucket/a@b> now")
        assert text == f"cannot reach <s3://{MARK}@host:9000/bucket/a@b> now"
    assert password not in redact(f"https://user:{password}@host/x")


@settings(max_examples=60, derandomize=True, deadline=None)
@given(name=NAMES, secret=SECRETS, form=st.sampled_from(sorted(PLANTED)))
def test_redacting_twice_changes_nothing(name, secret, form):
    once = redact(PLANTED[form](name, secret))
    assert redact(once) == once


PEM = (
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEAzqMIIEowIBAAKCAQEAzq\n"
    "c2VjcmV0c2VjcmV0c2VjcmV0\n-----END RSA PRIVATE KEY-----"
)


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("Authorization: Bearer abc.def-ghi", "Authorization: [redacted]"),
        ("{'Authorization': 'AWS4-HMAC-SHA256 Credential=x/y, Signature=z'}", "{'Authorization': '[redacted]'}"),
        ("sent bearer abc.def-ghi to it", "sent bearer [redacted] to it"),
        ("id AKIAIOSFODNN7EXAMPLE is wrong", "id [redacted] is wrong"),
        ("Basic dXNlcjpwYXNzd29yZA== refused", "Basic [redacted] refused"),
        ("hf_" + "a" * 34, "[redacted]"),
        ("ghp_" + "a" * 36 + " expired", "[redacted] expired"),
        (f"key file:\n{PEM}\nend", "key file:\n[redacted]\nend"),
        (f"cut off {PEM[:60]}", "cut off [redacted]"),
        (f"...{PEM[40:]}\nend", "...[redacted]\nend"),
        (PEM.replace("\n", "\\n") + " end", "[redacted] end"),
        (
            "DefaultEndpointsProtocol=https;AccountName=n;AccountKey=abc==;EndpointSuffix=x",
            "DefaultEndpointsProtocol=https;AccountName=n;AccountKey=[redacted];EndpointSuffix=x",
        ),
        ("s3://bucket:se/cret@host/x", "s3://[redacted]@host/x"),
    ],
)
def test_known_shapes_are_redacted(text, redacted):
    assert redact(text) == redacted


@pytest.mark.parametrize(
    "text",
    [
        "key=layer.0.weight index=(2, 3) rank=1 saved=1.5 loaded=0.0",
        "token_embedding.weight: shape (4, 8) became (8, 4)",
        "num_tokens=5 tokenizer=fast max_tokens: 3",
        "cannot open /scratch/run-1/.metadata: No such file or directory",
        "https://host:8080/bucket/path@version?part=1 and s3://bucket/key@v2",
        "a secret token, an author, a passing test",
        "PASS: 3, passed=4",
        "File \"x.py\", line 3, in save: raise ValueError('no')",
    ],
)
def test_evidence_is_left_alone(text):
    assert redact(text) == text


def test_options_lose_the_values_of_secret_names():
    options = {"endpoint": "http://u:p@h/x", "secret": "abc", "key": "k1", "db_pass": "x", "threads": 4}
    assert redact_mapping(options) == {
        "endpoint": "http://[redacted]@h/x",
        "secret": "[redacted]",
        "key": "[redacted]",
        "db_pass": "[redacted]",
        "threads": "4",
    }
    assert secret_values(options) == ("abc", "k1", "x")
    assert not is_secret_option("keyword_only")


def test_short_literals_do_not_blank_ordinary_words():
    assert redact("an apple", secrets=("a", "", "app")) == "an apple"


def test_a_long_text_is_no_trouble():
    for text in ("a" * 100_000, "=" * 100_000, " " * 100_000, "x: " * 30_000, "\\" * 100_000, "-----BEGIN " * 5_000):
        assert isinstance(redact(text), str)


@pytest.mark.parametrize(
    "text",
    [
        "botocore.exceptions.NoCredentialsError: Unable to locate credentials",
        "google.auth.exceptions.DefaultCredentialsError: Your default credentials were not found.",
    ],
)
def test_an_error_about_credentials_keeps_its_sense(text):
    assert redact(text) == text


def test_what_start_gave_is_secret_whatever_it_is_called():
    given = {"STORE_WORD": "sesame", "STORE_PORT": "9000", "STORE_TLS": "false", "STORE_PASSWORD": "test"}
    assert given_values(given) == ("sesame", "test")
    told = redact("no answer to sesame at port 9000, false; the test of sesames", secrets=given_values(given))
    assert told == f"no answer to {MARK} at port 9000, false; the {MARK} of sesames"
