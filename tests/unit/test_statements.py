"""Statements: one text a tenant, arguments in order, no value frozen in."""

import pytest
from sqlalchemy import Integer, String, bindparam, select

from db.models.access import Role
from db.names import SchemaName
from db.session.statements import Statement

A = SchemaName("t_aaaaaaaaaaaaaaaa")
B = SchemaName("t_bbbbbbbbbbbbbbbb")
FIND = Statement(
    select(Role.id)
    .where(Role.role_name == bindparam("name", type_=String))
    .limit(bindparam("limit", type_=Integer))
)


def test_each_tenant_has_its_own_text() -> None:
    assert A in FIND.text(A)
    assert B not in FIND.text(A)
    assert FIND.text(A).replace(A, B) == FIND.text(B)


def test_arguments_are_put_in_the_order_of_the_text() -> None:
    assert FIND.arguments({"limit": 5, "name": "x"}) == ["x", 5]
    with pytest.raises(KeyError, match="limit"):
        FIND.arguments({"name": "x"})


def test_a_value_is_never_frozen_into_a_statement() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Statement(select(Role.id).where(Role.role_name == "x"))
