"""PostgreSQL behind a SQLAlchemy engine. Whatever is said to the server takes a way there and back, often longer than
its answer takes: nothing is said that need not be.
"""

from __future__ import annotations

import math
import select
import time
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa

from db.errors import NoDatabaseAddress
from db.prepared import as_sqlalchemy_would

ASK_AFTER_S = 2.0  # a connection that nobody took for so long is tried before it is used
_TAKEN_AT = "t2i_taken_at"  # in what the pool keeps with a connection: when it was taken last, by time.monotonic


def engine(
    url: sa.URL,
    *,
    lock_timeout_s: float,
    json_serializer: Callable[[Any], str],
    execution_options: Mapping[str, Any],
) -> sa.Engine:
    """An engine for the server at this address. Raises NoDatabaseAddress where the driver is missing."""
    settings = {"connect_timeout": "10", "options": f"-c lock_timeout={int(lock_timeout_s * 1000)}"}
    try:
        db = sa.create_engine(
            url.update_query_dict({k: v for k, v in settings.items() if k not in url.query}),
            json_serializer=json_serializer,
            isolation_level="AUTOCOMMIT",  # hands BEGIN to us
            execution_options=execution_options,
        )
    except (ImportError, sa.exc.NoSuchModuleError):
        raise NoDatabaseAddress("PostgreSQL needs the package psycopg: pip install 'psycopg[binary]'.") from None
    sa.event.listen(db, "begin", _begin)
    sa.event.listen(db, "checkout", _look_whether_there)
    return db


def _begin(conn: sa.Connection) -> None:
    """Begin a transaction, unless it is to be one statement: that is a transaction by itself."""
    options = conn.get_execution_options()
    if options.get("t2i_one_statement", False) or options.get("isolation_level") == "AUTOCOMMIT":
        return
    statement = "BEGIN ISOLATION LEVEL REPEATABLE READ" if options.get("t2i_at_one_moment", False) else "BEGIN"
    driver: Any = conn.connection.dbapi_connection
    try:
        driver.execute(statement, prepare=False)
    except conn.dialect.loaded_dbapi.Error as error:
        raise as_sqlalchemy_would(conn, error, statement) from error


def _look_whether_there(driver: Any, record: sa.pool.ConnectionPoolEntry, _: sa.pool.PoolProxiedConnection) -> None:
    """Whoever takes a connection gets one that works. A server that goes away closes it, which is seen from here; one
    that could not even do that is found by asking where nobody did for a while."""
    taken_at, record.info[_TAKEN_AT] = record.info.get(_TAKEN_AT, math.inf), time.monotonic()
    try:
        heard = select.poll()
        heard.register(driver.fileno(), select.POLLIN)
        if heard.poll(0) or time.monotonic() - taken_at > ASK_AFTER_S:
            driver.cursor().execute("")
    except driver.Error:
        raise sa.exc.InvalidatePoolError from None
