import pytest

from llm_monitoring.judging.redaction import redact


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("write to Ada.Lovelace+x@mail.example.co.uk now", "write to [EMAIL] now"),
        ("call +44 20 7946 0958.", "call [PHONE]."),
        ("call (555) 123-4567", "call [PHONE]"),
        ("card 4111-1111-1111-1111", "card [CARD]"),
        ("IBAN GB82 WEST 1234 5698 7654 32, thanks", "IBAN [IBAN], thanks"),
        ("key AKIAIOSFODNN7EXAMPLE", "key [KEY]"),
        ("Authorization: Bearer abcdef0123456789abcdef", "Authorization: [KEY]"),
        ("ghp_abcdefghijklmnopqrstuvwxyz0123456789", "[KEY]"),
    ],
)
def test_what_looks_personal_is_replaced(text, expected):
    assert redact(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "order 1234567890123456",
        "on 2026-05-11 at 09:31:07 we had 10,000 requests",
        "version 1.2.3, RFC 2119, ISO 9001",
        "the answer is 42, not 1000000",
        "GB00 WEST 1234 5698 7654 32",
    ],
)
def test_ordinary_numbers_stay(text):
    assert redact(text) == text


def test_a_long_hostile_text_does_not_take_long():
    redact("a" * 20_000 + "@" + "1 " * 20_000 + "GB82 " * 5_000)
