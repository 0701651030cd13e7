"""Factories: valid inputs of the application's own resources, drawn by polyfactory from the API's types."""

from polyfactory.factories.msgspec_factory import MsgspecFactory

from api.domain.todos import TodoIn


class TodoFactory(MsgspecFactory[TodoIn]):
    """To-dos with whatever titles the type allows, and no owner."""

    __random_seed__ = 20
    owner_id = None
