"""The naming convention for constraints, so that migrations can drop them by name.

See the SQLAlchemy manual, "Configuring Constraint Naming Conventions".
"""

from typing import Final

CONVENTION: Final = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
