"""Factories: build valid inputs from the API's own types, with polyfactory."""

from polyfactory.factories.msgspec_factory import MsgspecFactory

from api.domain.todos import TodoIn


class TodoFactory(MsgspecFactory[TodoIn]):
    """Builds `TodoIn` bodies with random values that the types allow, and without an owner."""

    __random_seed__ = 20
    owner_id = None
