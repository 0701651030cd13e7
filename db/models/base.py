"""The base of all tables that each tenant has, the house's and the application's alike.

Defaults are the server's (``server_default``), since statements are compiled once and run without the ORM.
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
