"""The permissions that the API enforces: those of the domain and those of the house."""

from typing import Final, Literal, get_args

from db import domain
from db.models import access

PermissionName = Literal[domain.PermissionName, access.PermissionName]
"""A permission's name. A migration adds each permission to every tenant, under the same name."""

ALL: Final[tuple[PermissionName, ...]] = get_args(PermissionName)
