"""The types of columns, in both databases. Migrations use them too."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

from tenuto._base.datetimes import from_microseconds, microseconds

__all__ = ["Id", "Json", "Moment", "Serial"]


class Moment(sa.TypeDecorator[datetime]):
    """An aware datetime in UTC, with microseconds."""

    impl = sa.BigInteger
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> Any:
        kind = TIMESTAMP(timezone=True) if dialect.name == "postgresql" else sa.BigInteger()
        return dialect.type_descriptor(kind)

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> Any:
        if value is None or dialect.name == "postgresql":
            return value
        return microseconds(value)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> datetime | None:
        if value is None or dialect.name == "postgresql":
            moment: datetime | None = value
            return moment
        return from_microseconds(value)


Json = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
Id = sa.Text().with_variant(sa.Uuid(as_uuid=False), "postgresql")
# SQLite counts by itself in columns of exactly this type only.
Serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
