import asyncio
import time

import pytest

from llm_monitoring.judging.asking import EDGE, ask
from llm_monitoring.judging.client import Item, as_judge
from llm_monitoring.judging.prompt import MOST_OUTPUT
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


HOSTILE = [
    "eyJaaaa-",
    "eyJaaaaaaaa.",
    "a",
    "a@",
    "-----BEGIN PRIVATE KEY-----",
    "-----END ",
    "bearer ",
    "bearer\t",
    "1 ",
    "GB82 ",
]
HOSTILE += ["sk-", "ghp_", "(555) ", "+49", "a.b@c.", "\n", "-", "eyJaaaaaaaa.aaaaaaaa.", "xoxa-", "\x000\x00"]


@pytest.mark.parametrize("piece", HOSTILE)
def test_the_work_grows_with_the_text_and_not_with_its_square(piece):
    assert growth(redact, piece) < 80  # sixteen times the text; its square would be 256 times the work


def growth(function, piece):
    """Processor time on sixteen times the text, as a multiple of that on once the text; the best of three each."""
    return best(function, piece * (160_000 // len(piece))) / best(function, piece * (10_000 // len(piece)))


def best(function, text):
    spent = []
    for _ in range(3):
        started = time.process_time()
        function(text)
        spent.append(time.process_time() - started)
    return min(spent)


def test_a_long_text_is_cut_before_it_is_redacted_and_no_half_of_a_key_is_left():
    lengths, seen = [], []
    key = "sk-proj-" + "k" * 60

    def judge(user_input, system_output):
        seen.append(system_output)
        return {"correctness": 4, "completeness": 4, "tone": 4}

    def counting(text):
        lengths.append(len(text))
        return redact(text)

    for head in range(7_190, 7_210, 5):
        text = "x " * (head // 2) + key + " y" * 500_000
        asyncio.run(ask(as_judge(judge), Item("r", "f", "question", text), redact=counting))
    assert max(lengths) <= MOST_OUTPUT + 2 * EDGE
    assert not any("kkkkk" in text for text in seen)
    assert all("characters left out here" in text and len(text) < MOST_OUTPUT for text in seen)
