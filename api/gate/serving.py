"""Serving: whether this release serves a tenant now. If not, the answer is 503, or 403 if it is suspended."""

from collections.abc import Sequence

from db.domain import OLDEST_SERVED
from db.errors import ProblemError
from db.migrations.lineage import Lineage
from db.tenants.lists import AtRevision
from db.tenants.registry import Tenant


def check_served(lineage: Lineage, tenant: Tenant) -> None:
    """Check that this release serves a tenant now.

    Args:
        lineage: the tenant lineage that this release knows.
        tenant: the tenant to serve.

    Raises:
        ProblemError: the tenant is not served; the problem's kind says why.
    """
    if tenant.status == "suspended":
        raise ProblemError("tenant-suspended")
    if tenant.status != "active" or tenant.revision is None:
        raise ProblemError("tenant-not-ready")
    if not serves(lineage, tenant.revision, tenant.compatible_from):
        raise ProblemError("tenant-out-of-range")


def serves(lineage: Lineage, revision: str, compatible_from: str | None) -> bool:
    """Return whether this release serves a schema.

    Args:
        lineage: the tenant lineage that this release knows.
        revision: the schema's revision.
        compatible_from: the oldest revision whose code still works with the schema.
    """
    if lineage.knows(revision):
        return OLDEST_SERVED in lineage.applied(revision)
    # Newer than this release: the revision itself says how far back it is compatible.
    return compatible_from is not None and lineage.knows(compatible_from)


def count_out_of_range(lineage: Lineage, counts: Sequence[AtRevision]) -> int:
    """Return how many active tenants this release does not serve, because of their revisions.

    Args:
        lineage: the tenant lineage that this release knows.
        counts: how many active tenants are at each revision.
    """
    return sum(
        each.count
        for each in counts
        if each.revision is None or not serves(lineage, each.revision, each.compatible_from)
    )
