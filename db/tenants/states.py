"""States of tenants, and the transitions between them."""

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
    # A deleted tenant can only be restored to the state it was in before.
    "deleted": frozenset({"pending", "failed", "active", "suspended", "purging"}),
    "purging": frozenset({"purged"}),
    "purged": frozenset(),
}

LIVE: Final = frozenset[TenantStatus]({"pending", "provisioning", "active", "failed", "suspended"})
"""States of tenants that exist for their clients, or will."""

GONE: Final = frozenset[TenantStatus]({"deleted", "purging", "purged"})
"""States of tenants that look unknown to their clients."""

MIGRATABLE: Final = frozenset[TenantStatus]({"active", "suspended"})
"""States of tenants that have a schema and are not deleted."""
