# same
"""Core statements with values of their own."""

import sqlalchemy as sa
from alembic import op


def upgrade():
    people = sa.table(
        "people", sa.column("id", sa.Integer), sa.column("name", sa.Text), sa.column("age", sa.Integer)
    )
    op.execute(people.update().where(people.c.name.in_(["ann", "bob"])).values(age=people.c.age + 1))
    op.execute(people.insert().values(name="o'hara", age=None))
    op.execute(people.delete().where(people.c.age.is_(None)))
    op.execute(
        people.insert().from_select(["name"], sa.select(sa.func.upper(people.c.name)).where(people.c.age > 1))
    )
