"""The base class of all tables in tenants' schemas, those of the house and of the domain.

Use ``server_default`` for defaults, because statements are compiled once and run without the ORM.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import DateTime, MetaData, Text, Uuid
from sqlalchemy.orm import DeclarativeBase

from db.models.naming import CONVENTION


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=CONVENTION)
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's own declaration
        str: Text,
        datetime: DateTime(timezone=True),
        UUID: Uuid,
    }
