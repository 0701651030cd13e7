"""Revisions drawn at random from a grammar: rendered and run online they do the same, up and down again."""

import datetime as dt
import tempfile
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db.migrations.lineages import check
from tests.paths import BASE, Paths
from tests.revisions import lineage_of

HEAD = """
import datetime
from decimal import Decimal
from uuid import UUID

nan, inf = float("nan"), float("inf")

"""
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12),
    st.sampled_from(
        ["it's", "a:b", ":name", "50%", "%(x)s", "c:\\temp", "tab\t", "--", "/*", "$$", "$1", "a;b"]
    ),
)
NAMES = st.sampled_from(["alpha", "Beta", "gamma ray", "order", 'd"q'])
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "sa.Text()": TEXTS,
    "sa.Integer()": st.integers(-(2**31), 2**31 - 1),
    "sa.BigInteger()": st.integers(-(2**63), 2**63 - 1),
    "sa.Boolean()": st.booleans(),
    "sa.Numeric(30, 6)": st.decimals(-(10**20), 10**20, places=6),
    "sa.Float()": st.floats(),
    "sa.Date()": st.dates(),
    "sa.DateTime()": st.datetimes(),
    "sa.DateTime(timezone=True)": st.datetimes(timezones=st.just(dt.UTC)),
    "sa.Interval()": st.timedeltas(),
    "sa.LargeBinary()": st.binary(max_size=9),
    "sa.Uuid()": st.uuids(),
    "sa.JSON()": st.recursive(
        st.none() | st.booleans() | st.integers(-9, 9) | TEXTS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
        max_leaves=5,
    ),
    "sa.ARRAY(sa.Text())": st.lists(st.none() | TEXTS, max_size=4),
    "sa.ARRAY(sa.Integer())": st.lists(st.none() | st.integers(-9, 9), max_size=4),
}


class Column(msgspec.Struct, frozen=True):
    """A column of a drawn table: its name, type, and a value for its default and its rows."""

    name: str
    type: str
    values: list[Any]
    default: bool
    nullable: bool


@st.composite
def columns(draw: st.DrawFn, name: str) -> Column:
    type_ = draw(st.sampled_from(sorted(VALUES)))
    values = draw(st.lists(VALUES[type_], min_size=1, max_size=3))
    return Column(name, type_, values, draw(st.booleans()) and type_ == "sa.Text()", draw(st.booleans()))


@st.composite
def bodies(draw: st.DrawFn) -> str:
    """Draw the body of a revision, with what takes it back."""
    table = draw(NAMES)
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    drawn = [draw(columns(name)) for name in names]
    up = [
        f"things = op.create_table({table!r}, sa.Column('id', sa.Integer(), sa.Identity(), primary_key=True),"
    ]
    for column in drawn:
        default = f", server_default={column.values[0]!r}" if column.default else ""
        up.append(f"    sa.Column({column.name!r}, {column.type}{default}, nullable={column.nullable}),")
    up.append(")")
    rows = [
        "{" + ", ".join(f"{c.name!r}: {c.values[at % len(c.values)]!r}" for c in drawn) + "}"
        for at in range(draw(st.integers(0, 3)))
    ]
    up.append(f"op.bulk_insert(things, [{', '.join(rows)}])")
    down = [f"op.drop_table({table!r})"]
    first = drawn[0]
    if draw(st.booleans()) and "JSON" not in first.type:
        up.append(f"op.create_index('by first', {table!r}, [{first.name!r}])")
        down.insert(0, "op.drop_index('by first')")
    if draw(st.booleans()):
        text = draw(TEXTS)
        up.append(f"op.add_column('people', sa.Column('extra', sa.Text(), server_default={text!r}))")
        up.append("people = sa.table('people', sa.column('name', sa.Text), sa.column('extra', sa.Text))")
        up.append(
            f"op.execute(people.update().where(people.c.name != {draw(TEXTS)!r}).values(extra={draw(TEXTS)!r}))"
        )
        down.append("op.drop_column('people', 'extra')")
    if draw(st.booleans()):
        up.append(f"op.execute(sa.text('UPDATE people SET name = name || :x').bindparams(x={draw(TEXTS)!r}))")
    lines = ["def upgrade():", *(f"    {line}" for line in up), "", "def downgrade():"]
    return HEAD + "\n".join([*lines, *(f"    {line}" for line in down)])


@given(body=bodies())
@settings(
    max_examples=25,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_a_drawn_revision_does_the_same_rendered_and_online(owner_url: str, body: str) -> None:
    owner = await asyncpg.connect(owner_url)
    with tempfile.TemporaryDirectory() as folder:
        chain = lineage_of(Path(folder), BASE, body)
        check(chain)
        paths = Paths(owner, owner_url, chain)
        online, rendered = await paths.fresh("r1"), await paths.fresh("r1")
        before = await paths.found(online)
        await paths.by_alembic(online)
        await paths.by_move(rendered)
        assert await paths.found(rendered) == await paths.found(online)
        assert await paths.found(await paths.fresh("r2")) == await paths.found(online)
        await paths.by_alembic(online, up=False)
        await paths.by_move(rendered, up=False)
        assert await paths.found(rendered) == await paths.found(online)
        assert (await paths.found(rendered))[0] == before[0]
    await owner.close()
