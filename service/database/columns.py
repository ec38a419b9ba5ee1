"""Metadata of the tables, naming convention of constraints, and column kinds that many tables share."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, MetaData, Numeric, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP
from sqlalchemy.types import UserDefinedType

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    }
)


class TransactionId(UserDefinedType[int]):
    """PostgreSQL's `xid8`: a transaction id of 64 bits, which never wraps around."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """The type's name."""
        return "XID8"


Moment = TIMESTAMP(timezone=True)
Texts = ARRAY(Text)
Money = Numeric(19, 4)


def required(name: str, type_: Any, **options: Any) -> Column[Any]:
    """A column that is never null."""
    return Column(name, type_, nullable=False, **options)


def key(name: str, type_: Any = Text) -> Column[Any]:
    """A column of the primary key."""
    return Column(name, type_, primary_key=True)


def transaction_id() -> Column[Any]:
    """The transaction that wrote a row. Compared with a snapshot, it shows which rows a reader has not read yet."""
    return required("xid", TransactionId, server_default=text("pg_current_xact_id()"), index=True)


def timestamps() -> list[Column[Any]]:
    """When a row was created, and when it last changed."""
    return [
        required("create_time", Moment, server_default=text("clock_timestamp()")),
        required("update_time", Moment, server_default=text("clock_timestamp()")),
    ]
