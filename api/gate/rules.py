"""Rules: route options that say who may call a route. A route without a rule refuses every request."""

from typing import Final, Literal

import msgspec

from db.tenants.permissions import PermissionName

OPT: Final = "access"
"""The route option that holds the rule."""


class Rule(msgspec.Struct, frozen=True):
    """Who may call a route.

    Args:
        who: ``public``: anybody. ``tenant``: a key or a user of a tenant that is being served. ``user``: a
            user. ``tenant-or-operator``: the tenant's key or an operator, whatever the tenant's state.
            ``operator``: an operator. ``signup``: as the setting SIGNUP says.
        permission: the permission that a tenant's token must have.
        served: whether the user's tenant must be one that is being served.
        scope: the scope that an operator's token must have.
    """

    who: Literal["public", "tenant", "user", "tenant-or-operator", "operator", "signup"]
    permission: PermissionName | None = None
    served: bool = True
    scope: str | None = None


def public() -> dict[str, Rule]:
    """Return a rule: anybody may call the route."""
    return {OPT: Rule("public")}


def tenant(permission: PermissionName) -> dict[str, Rule]:
    """Return a rule: keys and users of a served tenant may call the route if they have ``permission``."""
    return {OPT: Rule("tenant", permission)}


def user(*, served: bool = True) -> dict[str, Rule]:
    """Return a rule: users who are logged in may call the route, without naming their tenant.

    Args:
        served: whether the tenant must be one that is being served, and the user active.
    """
    return {OPT: Rule("user", served=served)}


def tenant_or_operator() -> dict[str, Rule]:
    """Return a rule: operators and keys of the tenant that the path names may call the route."""
    return {OPT: Rule("tenant-or-operator")}


def operator(scope: str | None = None) -> dict[str, Rule]:
    """Return a rule: only operators may call the route.

    Args:
        scope: the scope that the operator's token must have, unless it has all of them (``*``).
    """
    return {OPT: Rule("operator", scope=scope)}


def signup() -> dict[str, Rule]:
    """Return a rule: the setting SIGNUP says who may call the route: anybody, operators or nobody."""
    return {OPT: Rule("signup")}
