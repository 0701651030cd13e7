"""The domain's routes: yours to replace, one file per resource. ``docs/how-to.md`` says how."""

from typing import Final

from litestar import Controller

from api.domain.todos import TodoController

CONTROLLERS: Final[tuple[type[Controller], ...]] = (TodoController,)
"""The controllers that the API serves in addition to the house's own."""
