"""Rules: who may call a route, as the route declares it in its options. A route without a rule is closed."""

from typing import Final, Literal

import msgspec

from db.tenants.permissions import PermissionName

OPT: Final = "access"
"""The route option that holds its rule."""


class Rule(msgspec.Struct, frozen=True):
    """Who may call a route.

    Args:
        who: anybody; a key or a user of a tenant that is being served; a user alone; the tenant's key or an
            operator, whatever the tenant's state; an operator; whoever the setting SIGNUP lets.
        permission: what a tenant's token must permit.
        served: whether the user's tenant must be one that is being served.
        scope: what an operator's token must permit.
    """

    who: Literal["public", "tenant", "user", "tenant-or-operator", "operator", "signup"]
    permission: PermissionName | None = None
    served: bool = True
    scope: str | None = None


def public() -> dict[str, Rule]:
    """Anybody may call the route."""
    return {OPT: Rule("public")}


def tenant(permission: PermissionName) -> dict[str, Rule]:
    """Tokens of the tenant may call the route, where they permit ``permission``."""
    return {OPT: Rule("tenant", permission)}


def user(*, served: bool = True) -> dict[str, Rule]:
    """Users who are logged in may call the route; the tenant need not be named.

    Args:
        served: whether their tenant must be one that is being served, and they active.
    """
    return {OPT: Rule("user", served=served)}


def tenant_or_operator() -> dict[str, Rule]:
    """Keys of the tenant named in the path may call the route, and operators."""
    return {OPT: Rule("tenant-or-operator")}


def operator(scope: str | None = None) -> dict[str, Rule]:
    """Operators may call the route, and nobody else.

    Args:
        scope: what their token must permit by name, unless it permits everything (``*``).
    """
    return {OPT: Rule("operator", scope=scope)}


def signup() -> dict[str, Rule]:
    """Whoever the setting SIGNUP lets may call the route."""
    return {OPT: Rule("signup")}
