"""Yours: the routes of the application's own resources, one file each. ``docs/how-to.md`` says how to replace them."""

from typing import Final

from litestar import Controller

from api.domain.todos import TodoController

CONTROLLERS: Final[tuple[type[Controller], ...]] = (TodoController,)
"""What the API serves beside the house's own resources."""
