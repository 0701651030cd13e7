"""States of tenants, and which may follow which."""

from typing import Final, Literal

TenantStatus = Literal[
    "pending", "provisioning", "active", "failed", "suspended", "deleted", "purging", "purged"
]

TRANSITIONS: Final[dict[TenantStatus, frozenset[TenantStatus]]] = {
    "pending": frozenset({"provisioning", "failed", "deleted"}),
    "provisioning": frozenset({"active", "failed"}),
    "failed": frozenset({"provisioning", "deleted"}),
    "active": frozenset({"suspended", "deleted"}),
    "suspended": frozenset({"active", "deleted"}),
    # A deleted tenant goes back to what it was.
    "deleted": frozenset({"pending", "failed", "active", "suspended", "purging"}),
    "purging": frozenset({"purged"}),
    "purged": frozenset(),
}

LIVE: Final = frozenset[TenantStatus]({"pending", "provisioning", "active", "failed", "suspended"})
"""States of a tenant that is there for its clients, or will be."""

GONE: Final = frozenset[TenantStatus]({"deleted", "purging", "purged"})
"""States of a tenant that its clients are told nothing of."""

MIGRATABLE: Final = frozenset[TenantStatus]({"active", "suspended"})
"""States of tenants that have a schema, and are not on their way out."""
