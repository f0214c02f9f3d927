"""Personal data taken out of the judge's copy of a text: e-mail, phone, card, IBAN, keys. The log stays as it is.

Patterns find what looks like such data. They are no anonymisation: names, addresses and free text stay.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from llm_monitoring.errors import ConfigError, quote

# Every pattern takes time in proportion to the text: a repeat without an end gives nothing back (the possessive ++),
# and begins only where a word does.
EMAIL = re.compile(r"[\w.+%-]{1,64}+@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
KEYS = re.compile(
    r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----(?:[^-]|-(?!----)){1,8000}+-----END [A-Z ]{0,30}PRIVATE KEY-----"
    r"|(?<![\w-])eyJ[\w-]{8,}+\.[\w-]{8,}+\.[\w-]++"  # JSON web token
    r"|\b(?:sk|pk|rk)[-_](?:live|test|proj|ant|or)?[-_]?[\w-]{16,}"
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"
    r"|\bgh[pousr]_\w{20,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{16,}"
    r"|\bxox[abprs]-[\w-]{10,}|\bAIza[\w-]{30,}|\bhf_\w{20,}"
    r"|(?i:\bbearer )\s{0,20}[\w.~+/-]{16,}=*"
)
IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{2,4}){3,8}\b")
CARD = re.compile(r"(?<![\d-])\d(?:[ -]?\d){12,18}(?![\d-])")
PHONE = re.compile(
    r"(?<![\w.+/-])(?:\+|00)\d(?:[ ().\-/]{0,2}\d){7,14}(?!\w)|(?<![\w.+/-])\(?0\d{2,4}\)?[ /-]\d(?:[ -]?\d){4,9}(?!\w)"
    r"|(?<![\w.+/-])\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}(?!\w)"
)


def redact(text: str) -> str:
    """Replace what looks like personal data or a key by a word in brackets.

    Card numbers must pass Luhn's check, IBANs theirs (ISO 7064), so that order numbers stay.

    Examples
    --------
    >>> redact("Mail ada@example.org or call +49 30 1234567, card 4111 1111 1111 1111, order 4111 1111 1111 1112")
    'Mail [EMAIL] or call [PHONE], card [CARD], order 4111 1111 1111 1112'
    >>> redact("Pay to DE89 3704 0044 0532 0130 00 with key sk-proj-abcdefghijklmnop1234")
    'Pay to [IBAN] with key [KEY]'
    """
    text = KEYS.sub("[KEY]", text)
    text = EMAIL.sub("[EMAIL]", text)
    text = IBAN.sub(_iban, text)
    kept: list[str] = []

    def card(match: re.Match) -> str:
        if _luhn(match[0]):
            return "[CARD]"
        kept.append(match[0])
        return f"\x00{len(kept) - 1}\x00"  # a long number that is no card is no phone number either

    text = PHONE.sub("[PHONE]", CARD.sub(card, text.replace("\x00", "")))
    return re.sub("\x00(\\d+)\x00", lambda match: kept[int(match[1])], text)


def redactor(choice: bool | Callable[[str], str]) -> Callable[[str], str]:
    """The function for `redact=`: True the built-in patterns, False none, a callable itself.

    >>> redactor(False)("ada@example.org")
    'ada@example.org'
    """
    if callable(choice):
        return choice
    if choice is True or choice is False or choice is None:
        return redact if choice else str
    raise ConfigError(f"redact={quote(choice)}; expected True, False or a function text -> text")


def _iban(match: re.Match) -> str:
    """The longest beginning of the match that is an IBAN is replaced."""
    compact = match[0].replace(" ", "")
    for length in range(min(len(compact), 34), 14, -1):
        head = compact[:length]
        if int("".join(str(int(c, 36)) for c in head[4:] + head[:4])) % 97 == 1:
            seen = 0
            for place, character in enumerate(match[0]):
                seen += character != " "
                if seen == length:
                    return "[IBAN]" + match[0][place + 1 :]
    return match[0]


def _luhn(text: str) -> bool:
    digits = [int(c) for c in text if c.isdigit()][::-1]
    total = sum(digits[0::2]) + sum(sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return total % 10 == 0 and len(set(digits)) > 1
