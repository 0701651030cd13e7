"""FastAPI with SQLAlchemy: the tenant is looked up for each request, in the style of its best-known example.

The schema goes in by ``schema_translate_map``; functions are synchronous, and run in FastAPI's threads.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException
from pydantic import BaseModel, ConfigDict
from sqlalchemy import DateTime, Identity, create_engine, func, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

engine = create_engine(
    os.environ["SHOPS_URL"].replace("postgresql://", "postgresql+psycopg://"),
    pool_size=10,
    max_overflow=0,  # as many as Tenantry has
)


class Base(DeclarativeBase):
    pass


class Shop(Base):
    __tablename__ = "shops"
    __table_args__ = ({"schema": "public"},)

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    slug: Mapped[str] = mapped_column(unique=True)
    schema_name: Mapped[str] = mapped_column(unique=True)


class Todo(Base):
    __tablename__ = "todos"
    __table_args__ = ({"schema": "tenant"},)

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    title: Mapped[str]
    done: Mapped[bool] = mapped_column(server_default=text("false"))
    due_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    owner_id: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class TodoIn(BaseModel):
    title: str


class TodoOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    title: str
    done: bool
    due_at: datetime | None
    owner_id: int | None
    created_at: datetime
    updated_at: datetime


class Page(BaseModel):
    items: list[TodoOut]


@contextmanager
def with_db(schema: str | None) -> Iterator[Session]:
    names = {"tenant": schema} if schema else None
    with Session(engine.execution_options(schema_translate_map=names), expire_on_commit=False) as session:
        yield session


def get_tenant(tenant: Annotated[str, Header()]) -> Shop:
    with with_db(None) as session:
        shop = session.scalars(select(Shop).where(Shop.slug == tenant)).one_or_none()
    if shop is None:
        raise HTTPException(404)
    return shop


def get_db(shop: Annotated[Shop, Depends(get_tenant)]) -> Iterator[Session]:
    with with_db(shop.schema_name) as session:
        yield session


Db = Annotated[Session, Depends(get_db)]
app = FastAPI(openapi_url=None)


def _found(session: Session, todo_id: int) -> Todo:
    todo = session.get(Todo, todo_id)
    if todo is None:
        raise HTTPException(404)
    return todo


@app.get("/todos/{todo_id}")
def read(session: Db, todo_id: int) -> TodoOut:
    return TodoOut.model_validate(_found(session, todo_id))


@app.get("/todos")
def index(session: Db, limit: int) -> Page:
    todos = session.scalars(select(Todo).order_by(Todo.id).limit(limit))
    return Page(items=[TodoOut.model_validate(todo) for todo in todos])


@app.post("/todos", status_code=201)
def create(session: Db, data: TodoIn) -> TodoOut:
    todo = Todo(title=data.title)
    session.add(todo)
    session.commit()
    return TodoOut.model_validate(todo)


@app.patch("/todos/{todo_id}")
def change(session: Db, todo_id: int, data: TodoIn) -> TodoOut:
    todo = _found(session, todo_id)
    todo.title = data.title
    todo.updated_at = datetime.now().astimezone()
    session.commit()
    return TodoOut.model_validate(todo)
