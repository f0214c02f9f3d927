"""Addresses of logs as they may be shown: no password, token or key of a database URL is printed or written down."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus, unquote, unquote_plus

HIDDEN = "***"
VARIABLE = "LLM_MONITORING_LOG"
SECRET = re.compile(
    r"pass(word|wd|phrase|code)?$|pwd$|token|secret|credential|signature|^sig$|^sas$|^auth$|key(_?id)?$", re.I
)
FOLDERS = ("PWD", "OLDPWD")  # variables that name no secret
SCHEME = re.compile(r"^((?:[A-Za-z][A-Za-z0-9+.-]*:)+(?://)?)(.*)$", re.S)
WORDS = r"[\w.-]*(?:pass(?:word|wd|phrase)?|pwd|token|secret|credentials?|signature|api[_-]?key|access[_-]?key)"
SAID = re.compile(rf"(?i)(\b{WORDS}[\"']?\s*[=:]\s*)('[^']*'|\"[^\"]*\"|[^\s&;,)'\"]+)")
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>]+")
SHORTEST = 3
OURS = ("jsonl", "prometheus", "otlp", "otlps")  # kinds of sinks whose whole address is no secret
HOST = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://(?:[\w.-]+|\[[0-9a-fA-F:.]+\])(?::\d+)?(?:/[^?@]*)?")
HOSTED = ("json", "xml", "form", "http", "mailto", "ntfy", "syslog", "mqtt", "gotify", "rocket", "mmost")  # name a host


def masked(address: object) -> str:
    """A path or URL as it may be shown and written down: with ``***`` where its secrets stand.

    Hidden are the password of the user info, whatever letters it is made of (also ``/``, ``?``, ``#`` and ``@``), and
    the values of query keys that name a secret: password, sslpassword, token, access_token, secret, key, signature and
    the like, also where they are percent-encoded. Where it is not clear how far a secret goes, more is hidden.

    >>> masked("postgresql://ada:s3/cr@et@db:5432/llm?sslmode=require&sslpassword=x"), masked("logs/2026:05@home")
    ('postgresql://ada:***@db:5432/llm?sslmode=require&sslpassword=***', 'logs/2026:05@home')
    """
    text = str(address)
    for start, end in reversed(_places(text)):
        text = text[:start] + HIDDEN + text[end:]
    return text


def secrets(address: object) -> list[str]:
    """The secrets of a path or URL as they stand in it, the longest first.

    >>> secrets("postgresql://ada:s3cret@db/llm?token=t%2F1")
    ['s3cret', 't%2F1']
    """
    text = str(address)
    found = {text[start:end] for start, end in _places(text)} - {HIDDEN, ""}
    return sorted(found, key=lambda one: (-len(one), one))


def place(address: object) -> str:
    """Where a log is, in few words: the masked address, without scheme and user where it has a user.

    >>> place("postgresql://ada:s3cret@db:5432/llm")
    'db:5432/llm'
    """
    return re.sub(r"^[^/]*://[^/?#]*@", "", masked(address))


def destination(url: str) -> str:
    """Where an alert is sent, as it may be shown: the tokens of a service and the path of a web hook are secrets.

    >>> destination("slack://T1/B1/s3cret"), destination("jsons://ada:s3cret@example.com:8443/hook/t1?token=x")
    ('slack://***', 'jsons://***@example.com:8443/***')
    >>> destination("jsonl://alerts.jsonl"), destination("prometheus://127.0.0.1:9464")
    ('jsonl://alerts.jsonl', 'prometheus://127.0.0.1:9464')
    >>> destination("mailto://mail.example.com:25?from=watch@example.com&to=oncall@example.com")
    'mailto://mail.example.com:25'
    """
    url = query_apart(url)
    kind, mark, _ = url.partition("://")
    if kind.lower() in OURS or not mark:
        return masked(url)
    if kind.lower().rstrip("s") not in HOSTED:
        return f"{kind}://{HIDDEN}"
    *user, place = masked(url)[len(kind + mark) :].split("@")
    host, _, path = place.partition("?")[0].partition("/")
    return f"{kind}://{HIDDEN + '@' if user else ''}{host}{'/' + HIDDEN if path.strip('/') else ''}"


def query_apart(url: str) -> str:
    """An address in whose query no ``@`` stands, where its front is a host alone: what is before such an ``@`` is no user.

    >>> query_apart("mailto://mail.example.com?to=ada@example.com")
    'mailto://mail.example.com?to=ada%40example.com'
    """
    front, mark, query = url.partition("?")
    return f"{front}{mark}{query.replace('@', '%40')}" if HOST.fullmatch(front) else url


def without_secrets(text: str, *addresses: object) -> str:
    """A text, such as a driver's error, without the secrets of these addresses, of other URLs in it and of the environment.

    Secrets are found as they stand in the address and as a driver may repeat them: percent-decoded and encoded, quoted as
    JSON or Python do, or only the piece of them that it took for a host or a port. Values of environment variables whose names tell of a secret (``PGPASSWORD``) are hidden too, and
    so is what follows ``password=`` and the like.

    >>> without_secrets("auth failed: ada:s/x@db, password=s%2Fx", "postgresql://ada:s%2Fx@db/llm")
    'auth failed: ada:***@db, password=***'
    """
    for address in map(str, addresses):
        text = text.replace(address, masked(address))
    hidden = [one for address in addresses for one in secrets(address)]
    named = (value for name, value in os.environ.items() if SECRET.search(name) and name not in FOLDERS)
    hidden += [value for value in named if len(value) > SHORTEST]
    text = _replaced(_replaced(text, hidden), [piece for one in hidden for piece in re.split(r"[/@?#:&;=]", one)])
    text = URL.sub(lambda found: masked(found[0]), text)
    return SAID.sub(lambda found: found[1] + HIDDEN, text)


def without(text: str, address: object) -> str:
    """A text without the secrets of one address, whatever else is in it; for files, where only these are to go."""
    text = text.replace(str(address), masked(address))
    return _replaced(text, secrets(address))


def keep(address: object) -> dict[str, str]:
    """What the environment of another process must hold for it to open a masked address; nothing where none is hidden.

    >>> keep("logs"), list(keep("postgresql://ada:s3cret@db/llm"))
    ({}, ['LLM_MONITORING_LOG'])
    """
    return {VARIABLE: str(address)} if secrets(address) else {}


def whole(address: object) -> str:
    """An address that is masked, with its secrets again, where the environment (``LLM_MONITORING_LOG``) holds them.

    Empty for what is no path or URL: tables, a log that is open.
    """
    if not isinstance(address, str | os.PathLike):
        return ""
    address, kept = str(address), os.environ.get(VARIABLE, "")
    return kept if HIDDEN in address and masked(kept) == address else address


def _places(text: str) -> list[tuple[int, int]]:
    """Where secrets stand: first what the query names, then what is left of a password before the last ``@``."""
    matched = SCHEME.match(text)
    if not matched:
        return _query(text, 0)
    start = matched.end(1)
    found = _query(text, start)
    if not matched[1].endswith("//"):
        return found
    named = "".join(
        "\0" if any(a <= place < b for a, b in found) else letter for place, letter in enumerate(text)
    )  # an @ of a named secret ends no user info
    at = named.rfind("@")
    colon = named.find(":", start, at) if at >= 0 else -1
    if colon < 0:
        return found
    return [(colon + 1, at), *(one for one in found if one[0] > at)]


def _query(text: str, start: int) -> list[tuple[int, int]]:
    """The values of keys that name a secret, up to the next ``&name=``: a ``;`` or ``?`` may belong to the secret."""
    found: list[tuple[int, int]] = []
    open_value = False
    for piece in re.finditer(r"(?<=[?&;#])[^&]*", text[start:]):
        end = start + piece.end()
        value = _secret_value(piece[0])
        if value is not None:
            found.append((end - len(value), end))
            open_value = True
        elif open_value and not re.match(r"[^=]+=", piece[0]):
            found[-1] = (found[-1][0], end)
        else:
            open_value = False
    return found


def _secret_value(piece: str) -> str | None:
    """What follows the first name of a secret in a piece of a query."""
    for key in re.finditer(r"(?:^|[;?#])([^;?#=]*)=", piece):
        value = piece[key.end() :]
        if SECRET.search(unquote(key[1])) or SAID.search(unquote(value)):
            return value
    return None


def _replaced(text: str, hidden: Iterable[str]) -> str:
    forms = {form for one in hidden for form in _forms(one)} - {HIDDEN, ""}
    for form in sorted(forms, key=lambda one: (-len(one), one)):
        if len(form) >= SHORTEST:
            text = text.replace(form, HIDDEN)
        else:  # a letter or two stand everywhere; as a word of their own they may be the secret
            text = re.sub(rf"(?<!\w){re.escape(form)}(?!\w)", HIDDEN, text)
    return text


def _forms(secret: str) -> set[str]:
    """A secret as it may be repeated: as it stands, decoded, encoded, quoted."""
    plain = {secret, unquote(secret), unquote_plus(secret)}
    encoded = {form for one in plain for form in (quote(one, safe=""), quote(one), quote_plus(one))}
    quoted = {form for one in plain for form in (json.dumps(one)[1:-1], repr(one)[1:-1])}
    return plain | encoded | {one.lower() for one in encoded if "%" in one} | quoted
