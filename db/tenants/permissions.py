"""Permissions that the API enforces: the application's and the house's."""

from typing import Final, Literal, get_args

from db import domain
from db.models import access

PermissionName = Literal[domain.PermissionName, access.PermissionName]
"""A migration gives each of them to every tenant, under the same name."""

ALL: Final[tuple[PermissionName, ...]] = get_args(PermissionName)
