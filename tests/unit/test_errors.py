"""Errors: one family, whose kinds HTTP knows all of."""

from typing import get_args

import pytest

import api.app
import api.cli.messages
import provisioner.__main__
from api.web.problems import KINDS
from db.errors import InvalidValueError, ProblemKind, TakenError, TenantryError

LOADED = (api.app, api.cli.messages, provisioner.__main__)  # with all that they import


def family(kind: type[TenantryError]) -> set[type[TenantryError]]:
    return {kind, *(found for child in kind.__subclasses__() for found in family(child))}


def test_every_kind_has_a_status_and_words_and_no_other_has() -> None:
    assert set(KINDS) == set(get_args(ProblemKind))


def test_every_error_has_a_kind_that_is_known_and_an_exit_code() -> None:
    errors = family(TenantryError)
    assert len(errors) > 15
    for error in errors:
        assert error.kind in KINDS, error
        assert error.exit_code in {1, 2}, error
        assert error.__name__.endswith("Error"), error


@pytest.mark.parametrize("what", ["slug", "host", "email"])
def test_what_is_taken_is_the_kind(what: str) -> None:
    error = TakenError(what)  # type: ignore[arg-type]
    assert KINDS[error.kind].status == 409
    assert error.kind == f"{what}-taken"


def test_a_wrong_value_names_its_field() -> None:
    (field,) = InvalidValueError("slug", "too long").fields
    assert (field.field, field.message) == ("slug", "too long")
