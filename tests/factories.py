"""Factories: valid inputs, drawn by polyfactory from the API's own types."""

from polyfactory.factories.msgspec_factory import MsgspecFactory

from api.tenant.roles import RoleIn


class RoleFactory(MsgspecFactory[RoleIn]):
    """Roles with whatever names and descriptions the type allows."""

    __random_seed__ = 20
