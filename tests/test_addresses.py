"""No secret of an address is shown, wherever it stands and however it is written."""

from __future__ import annotations

import json
import string
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

import llm_monitoring as lm
from llm_monitoring import addresses

LETTERS = string.ascii_letters + string.digits
AWKWARD = "/@:?#&=;%+ ![]{}'\"\\.,*()é"
secret_texts = st.text(LETTERS + AWKWARD, min_size=6, max_size=24).map(lambda text: "Zq9" + text + "Zq8")
keys = st.sampled_from(
    [
        "password",
        "PASSWORD",
        "sslpassword",
        "token",
        "access_token",
        "motherduck_token",
        "auth_token",
        "secret",
        "client_secret",
        "key",
        "api_key",
        "apikey",
        "account_key",
        "private_key_passphrase",
        "pwd",
        "X-Amz-Signature",
        "aws_secret_access_key",
        "pass%77ord",
    ]
)
hosts = st.sampled_from(["db", "db:5432", "db.example.com:5432", "[::1]:5432", "h1:1,h2:2", ""])
others = st.lists(st.sampled_from(["sslmode=require", "user=ada", "options=-c%20x%3D1", "schema=a@b"]), max_size=2)


def pieces(secret):
    """What a reader could know the secret by: no run of five of its letters may be left."""
    return {secret[at : at + 5] for at in range(len(secret) - 4)}


@given(secret=secret_texts, host=hosts, rest=others)
def test_a_password_of_the_user_info_is_hidden_whatever_letters_it_has(secret, host, rest):
    for written in (secret, quote(secret, safe=""), quote_plus(secret)):
        url = f"postgresql://ada:{written}@{host}/llm" + ("?" + "&".join(rest) if rest else "")
        for shown in (addresses.masked(url), addresses.place(url)):
            assert "Zq9" not in shown
            assert "Zq8" not in shown
            assert not pieces(written) & pieces(shown)


@given(secret=secret_texts, key=keys, host=hosts, rest=others, last=st.booleans())
def test_a_secret_of_the_query_is_hidden_encoded_or_not(secret, key, host, rest, last):
    for written in (quote(secret, safe=""), quote_plus(secret), secret.replace("&", "").replace("#", "")):
        query = [*rest, f"{key}={written}"] if last else [f"{key}={written}", *rest]
        for start in (
            f"postgresql://{host}/llm",
            f"postgresql://ada@{host}/llm",
            "md:llm",
            f"jdbc:postgresql://{host}/x",
        ):
            shown = addresses.masked(f"{start}?{'&'.join(query)}")
            assert "Zq9" not in shown
            assert "Zq8" not in shown


@given(secret=secret_texts, how=st.sampled_from(["raw", "decoded", "json", "repr", "dsn", "url"]))
def test_a_driver_may_repeat_the_secret_in_any_form(secret, how):
    url = f"postgresql://ada:{quote(secret, safe='')}@db/llm"
    said = {
        "raw": quote(secret, safe=""), "decoded": secret, "json": json.dumps(secret), "repr": repr(secret),
        "dsn": f"host=db password='{secret}'", "url": url,
    }[how]  # fmt: skip
    shown = addresses.without_secrets(f"could not connect ({said}) to db", url)
    assert "Zq9" not in shown
    assert "Zq8" not in shown
    assert shown.startswith("could not connect (")


def test_a_secret_that_the_environment_holds_is_hidden_in_a_drivers_error(monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "from-the-environment")
    monkeypatch.setenv("motherduck_token", "eyJabc.def")
    said = "FATAL: from-the-environment is wrong, and so is eyJabc.def"
    assert addresses.without_secrets(said) == "FATAL: *** is wrong, and so is ***"


@pytest.mark.parametrize(
    "plain",
    [
        "sample_data", "/logs/a@b:c/2026", "logs/x?y", "postgresql://db:5432/llm", "postgresql://ada@db/llm?sslmode=require",
        "duckdb:///logs/a.duckdb", "s3://bucket/logs@home", "C:\\logs@home",
    ],
)  # fmt: skip
def test_an_address_without_a_secret_is_shown_as_it_is(plain):
    assert addresses.masked(plain) == plain
    assert addresses.secrets(plain) == []
    assert addresses.keep(plain) == {}


def test_masking_twice_is_masking_once():
    once = addresses.masked("postgresql://ada:s3/cret@db/llm?token=x")
    assert addresses.masked(once) == once


def test_a_masked_address_is_whole_again_where_the_environment_holds_it(monkeypatch):
    url = "postgresql://ada:s3/cret@db/llm?token=x"
    assert addresses.whole(addresses.masked(url)) == addresses.masked(url)
    monkeypatch.setenv(addresses.VARIABLE, url)
    assert addresses.whole(addresses.masked(url)) == url
    assert addresses.whole("postgresql://bob:***@db/llm") == "postgresql://bob:***@db/llm"


@pytest.mark.parametrize(
    "url",
    [
        "postgres://me:Zq9/Zq8@localhost:1/logs", "postgres://me:Zq9@Zq8@localhost:1/logs",
        "postgres://localhost:1/logs?user=me&password=Zq9Zq8", "postgres://me:Zq9%2FZq8@localhost:1/logs",
        "duckdb:///no/such/folder/x.duckdb?motherduck_token=Zq9Zq8", "nothing://me:Zq9Zq8@host/x?token=Zq9Zq8",
        "no_such_folder?motherduck_token=Zq9Zq8",
    ],
)  # fmt: skip
def test_a_log_that_cannot_be_opened_is_named_without_its_secret_and_chains_no_error_that_holds_it(url, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "Zq9Zq8")
    with pytest.raises(lm.LogError) as caught:
        lm.open_log(url)
    assert "Zq9" not in str(caught.value)
    assert "Zq8" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
