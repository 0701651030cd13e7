"""Tokens: their shape says their kind, and a slip of the finger is told without a database."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.logs import redact
from db.tenants import tokens
from db.tenants.tokens import TokenKind


@pytest.mark.parametrize(("kind", "prefix"), [("tenant", "tnt_"), ("user", "usr_"), ("operator", "opr_")])
def test_a_token_is_read_back_as_what_it_is(kind: TokenKind, prefix: str) -> None:
    token = tokens.mint(kind)
    assert token.text.startswith(prefix)
    assert tokens.parse(token.text) == token


@given(st.integers(0, 80), st.sampled_from("abcdefghijklmnopqrstuvwxyz234567_"))
def test_one_changed_character_is_noticed(position: int, character: str) -> None:
    text = tokens.mint("tenant").text
    position %= len(text)
    if text[position] != character:
        assert tokens.parse(text[:position] + character + text[position + 1 :]) is None


@given(st.text())
def test_no_text_breaks_the_parser(text: str) -> None:
    assert tokens.parse(text) is None


def test_no_two_tokens_are_alike() -> None:
    minted = [tokens.mint("tenant") for _ in range(100)]
    assert len({token.id for token in minted}) == len({token.hash for token in minted}) == 100


def test_a_token_is_not_shown_by_accident() -> None:
    token = tokens.mint("operator")
    secret = token.text.rpartition("_")[2]
    assert secret not in repr(token)
    assert redact(f"bearer {token.text} for {token.id}") == f"bearer opr_{token.id}_*** for {token.id}"
    assert redact("postgresql://u:pass@h/d") == "postgresql://u:***@h/d"
