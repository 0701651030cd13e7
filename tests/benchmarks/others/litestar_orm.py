"""Litestar with SQLAlchemy's async ORM, through the plugin that its documentation recommends.

``SET LOCAL search_path`` names the tenant's schema for the transaction. No look-up: the header says the schema.
"""

import os
import re
from datetime import datetime
from typing import Annotated

from advanced_alchemy.extensions.litestar import (
    AsyncSessionConfig,
    EngineConfig,
    SQLAlchemyAsyncConfig,
    SQLAlchemyPlugin,
)
from litestar import Litestar, get, patch, post
from litestar.di import Provide
from litestar.exceptions import NotFoundException
from litestar.params import Parameter
from msgspec import Struct
from sqlalchemy import DateTime, Identity, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class Todo(Base):
    __tablename__ = "todos"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    title: Mapped[str]
    done: Mapped[bool] = mapped_column(server_default=text("false"))
    due_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    owner_id: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class TodoIn(Struct):
    title: str


async def provide_session(
    db_session: AsyncSession, tenant: Annotated[str, Parameter(header="tenant")]
) -> AsyncSession:
    if not re.fullmatch(r"shop\d{6}", tenant):
        raise NotFoundException
    await db_session.execute(text(f"SET LOCAL search_path TO {tenant}"))
    return db_session


async def _found(session: AsyncSession, todo_id: int) -> Todo:
    todo = await session.get(Todo, todo_id)
    if todo is None:
        raise NotFoundException
    return todo


@get("/todos/{todo_id:int}")
async def read(session: AsyncSession, todo_id: int) -> Todo:
    return await _found(session, todo_id)


@get("/todos")
async def index(session: AsyncSession, limit: int) -> list[Todo]:
    return list(await session.scalars(select(Todo).order_by(Todo.id).limit(limit)))


@post("/todos")
async def create(session: AsyncSession, data: TodoIn) -> Todo:
    todo = Todo(title=data.title)
    session.add(todo)
    await session.flush()
    return todo


@patch("/todos/{todo_id:int}")
async def change(session: AsyncSession, todo_id: int, data: TodoIn) -> Todo:
    todo = await _found(session, todo_id)
    todo.title = data.title
    todo.updated_at = datetime.now().astimezone()
    await session.flush()
    return todo


config = SQLAlchemyAsyncConfig(
    connection_string=os.environ["SHOPS_URL"].replace("postgresql://", "postgresql+asyncpg://"),
    engine_config=EngineConfig(pool_size=10, max_overflow=0),  # as many as Tenantry has
    session_config=AsyncSessionConfig(expire_on_commit=False),
    before_send_handler="autocommit",
)
app = Litestar(
    [read, index, create, change],
    plugins=[SQLAlchemyPlugin(config)],
    dependencies={"session": Provide(provide_session)},
    openapi_config=None,
    logging_config=None,
)
