"""The dead man's switch: a page that is asked for after every round that has read the log. Who misses it knows."""

from __future__ import annotations

import urllib.error
import urllib.request

from llm_monitoring import addresses
from llm_monitoring.errors import ConfigError, quote


def check_address(url: str) -> None:
    """Refuse an address that no ping can go to.

    >>> check_address("ping.example.com/1")
    Traceback (most recent call last):
    ...
    llm_monitoring.errors.ConfigError: heartbeat='ping.example.com/1'; expected an address that starts with http:// or https://
    """
    if not url.lower().startswith(("http://", "https://")):
        raise ConfigError(
            f"heartbeat={quote(addresses.destination(url))}; expected an address that starts with http:// or https://"
        )


def ping(url: str, timeout_s: float = 10.0) -> str | None:
    """Ask for a page; None where it answered, else why not, without the secrets of the address."""
    try:
        with urllib.request.urlopen(url, timeout=timeout_s):
            return None
    except urllib.error.HTTPError as error:
        return f"{addresses.destination(url)} answered {error.code}"
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return f"{addresses.destination(url)}: {addresses.without_secrets(str(reason), url)}"
