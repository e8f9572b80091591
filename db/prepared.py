"""Statements that are asked all the time: compiled once for each kind of database, then given to the driver.

SQLAlchemy takes about 30 µs to execute what SQLite answers in 2. Values and rows are as SQLAlchemy would have them, and
so are the errors; whoever listens to the statements of an engine hears of these as well.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql import visitors

_NOTHING: Mapping[str, Any] = {}


class Prepared:
    """A statement whose parameters have names (`sa.bindparam`), none of them a list; its rows are named tuples."""

    def __init__(self, statement: sa.Executable) -> None:
        self._statement = statement
        self._forms: dict[str, _Form] = {}

    def all(self, conn: sa.Connection, values: Mapping[str, Any] = _NOTHING) -> list[Any]:
        """Every row."""
        form = self._form(conn)
        return [form.row(row) for row in form.execute(conn, form.bound(values)).fetchall()]

    def first(self, conn: sa.Connection, values: Mapping[str, Any] = _NOTHING) -> Any | None:
        """The first row, which is the only one or any of several; None: there is none."""
        found = self.all(conn, values)  # one that is not read to its end would be in the way of the commit
        return found[0] if found else None

    def scalar(self, conn: sa.Connection, values: Mapping[str, Any] = _NOTHING) -> Any | None:
        """What is first in the first row; None: there is no row."""
        row = self.first(conn, values)
        return None if row is None else row[0]

    def run(self, conn: sa.Connection, values: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> None:
        """Execute what returns no rows, once or for each of several."""
        form, each = self._form(conn), [values] if isinstance(values, Mapping) else values
        if len(each) == 1:
            form.execute(conn, form.bound(each[0]))
        elif each:
            form.execute(conn, [form.bound(one) for one in each], many=True)

    def _form(self, conn: sa.Connection) -> _Form:
        form = self._forms.get(conn.dialect.name)
        if form is None:
            form = self._forms[conn.dialect.name] = _Form(self._statement, conn.dialect)
        return form


def _as_taken(dialect: sa.Dialect) -> tuple[sa.Dialect, Callable[[Any], Any]]:
    """How statements are written for a driver, and what makes a cursor that takes them from one of its connections."""
    if dialect.driver != "psycopg":
        return dialect, lambda driver: driver.cursor()
    from psycopg import RawCursor

    # With parameters as the server has them, $1, $2, ...: where there are others psycopg looks through a long statement
    # for them whenever it is asked, for 0.2 ms.
    kind: Any = type(dialect)
    return kind(paramstyle="numeric_dollar"), RawCursor


def _write_out(parameter: sa.BindParameter[Any]) -> None:
    """What is always the same becomes a part of the statement: a server that plans it once and for all sees which index
    has those rows alone. Else PostgreSQL plans it again each time, for longer than it takes to run."""
    parameter.literal_execute = isinstance(parameter.value, str | int | float)
    parameter.required = False  # `_Form.bound` is given it


class _Form:
    """A statement as one kind of database takes it."""

    def __init__(self, statement: Any, dialect: sa.Dialect) -> None:
        form, self._cursor = _as_taken(dialect)
        statement = visitors.cloned_traverse(statement, {}, {"bindparam": _write_out})
        compiled = statement.compile(dialect=form, compile_kwargs={"render_postcompile": True})
        self.sql = str(compiled)
        assert "POSTCOMPILE" not in self.sql, "a list is no parameter of a prepared statement"
        self._constants = {name: value for name, value in compiled.params.items() if value is not None}
        self._positions: Sequence[str] | None = compiled.positiontup
        self._given: list[tuple[str, Callable[[Any], Any]]] = [
            (name, convert)
            for bind, name in compiled.bind_names.items()
            if not bind.literal_execute
            and (convert := bind.type.dialect_impl(dialect).bind_processor(dialect)) is not None
        ]
        columns = list(getattr(statement, "exported_columns", ()))
        self._row: Any = namedtuple("Row", [str(column.key) for column in columns], rename=True)  # type: ignore[misc]
        self._found: list[tuple[int, Callable[[Any], Any]]] = [
            (n, convert)
            for n, column in enumerate(columns)
            if not isinstance(column.type, sa.Numeric | sa.Float)  # every driver has floats
            and (convert := column.type.dialect_impl(dialect).result_processor(dialect, None)) is not None
        ]

    def bound(self, values: Mapping[str, Any]) -> Any:
        """The parameters as the driver takes them."""
        bound = {**self._constants, **values}
        for name, convert in self._given:
            bound[name] = convert(bound[name])
        return bound if self._positions is None else [bound[name] for name in self._positions]

    def row(self, found: Sequence[Any]) -> Any:
        """A row of the driver's as SQLAlchemy would give it."""
        if self._found:
            found = list(found)
            for n, convert in self._found:
                found[n] = convert(found[n])
        return self._row._make(found)

    def execute(self, conn: sa.Connection, parameters: Any, *, many: bool = False) -> Any:
        """A cursor that has executed it. Raises what SQLAlchemy would."""
        assert conn.in_transaction(), "SQLAlchemy would begin one, the driver of SQLite would not"
        driver = conn.connection.dbapi_connection
        assert driver is not None
        cursor = self._cursor(driver)
        heard = conn.engine.dispatch
        for hear in heard.before_cursor_execute:
            hear(conn, cursor, self.sql, parameters, None, many)
        try:
            (cursor.executemany if many else cursor.execute)(self.sql, parameters)
        except conn.dialect.loaded_dbapi.Error as error:
            raise as_sqlalchemy_would(conn, error, self.sql, parameters) from error
        for hear in heard.after_cursor_execute:
            hear(conn, cursor, self.sql, parameters, None, many)
        return cursor


def as_sqlalchemy_would(conn: sa.Connection, error: Any, sql: str, parameters: Any = None) -> sa.exc.DBAPIError:
    """The driver's error as SQLAlchemy raises it; a connection that is lost is not used again."""
    driver, dialect = conn.connection.dbapi_connection, conn.dialect
    if dialect.is_disconnect(error, driver, None):
        conn.invalidate(error)
    wrapped = sa.exc.DBAPIError.instance(sql, parameters, error, dialect.loaded_dbapi.Error, dialect=dialect)
    assert isinstance(wrapped, sa.exc.DBAPIError)
    return wrapped
