"""Statements: one text a tenant, arguments in order, no value frozen in."""

import pytest
from sqlalchemy import Integer, String, bindparam, select

from db.domain import Todo
from db.names import SchemaName
from db.session.statements import Statement

A = SchemaName("t_aaaaaaaaaaaaaaaa")
B = SchemaName("t_bbbbbbbbbbbbbbbb")
FIND = Statement(
    select(Todo.id)
    .where(Todo.title == bindparam("title", type_=String))
    .limit(bindparam("limit", type_=Integer))
)


def test_each_tenant_has_its_own_text() -> None:
    assert A in FIND.text(A)
    assert B not in FIND.text(A)
    assert FIND.text(A).replace(A, B) == FIND.text(B)


def test_arguments_are_put_in_the_order_of_the_text() -> None:
    assert FIND.arguments({"limit": 5, "title": "x"}) == ["x", 5]
    with pytest.raises(KeyError, match="limit"):
        FIND.arguments({"title": "x"})


def test_a_value_is_never_frozen_into_a_statement() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Statement(select(Todo.id).where(Todo.title == "x"))
