"""Statements of SQLite that are executed again and again: compiled once, then handed to the driver as they are.

Most statements of a session are built once, when their module is imported, and executed some hundred times a second. To
SQLAlchemy every execution is a new question: which compiled form is this, which types, what kind of result. That takes
three times as long as SQLite itself. So a statement object that is seen a second time is prepared: its text, how its
parameters are brought into order, and what becomes of the values of its rows. All of it is what SQLAlchemy's compiler
says. Whatever needs more (RETURNING, IN over a list, defaults computed for a row) stays with SQLAlchemy.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from sqlalchemy import Delete, Dialect, Insert, Select, Update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql.compiler import SQLCompiler

Convert = Callable[[Any], Any] | None
Given = Mapping[str, Any] | Sequence[Mapping[str, Any]]


class Changed(NamedTuple):
    """What is known after a statement without rows."""

    rowcount: int


class Prepared:
    """One statement with one set of parameters' names. Raises KeyError when one that it needs is not among them."""

    def __init__(self, compiled: SQLCompiler, names: Sequence[str], columns: Sequence[Convert]) -> None:
        self.sql = str(compiled)
        own_names = {name: bind.key for bind, name in compiled.bind_names.items()}
        self._parameters: list[tuple[str, Convert]] = []
        self._fixed: dict[str, Any] = {}
        for name in compiled.positiontup or ():
            bind = compiled.binds[name]
            found = own_names[name] if own_names[name] in names else name
            if found not in names:
                if bind.required:
                    raise KeyError(f"the statement's parameter {name} was not given")
                self._fixed[found] = bind.value
            kind = bind.type.dialect_impl(compiled.dialect)
            self._parameters.append((found, kind.bind_processor(compiled.dialect)))
        self._converted = [(index, convert) for index, convert in enumerate(columns) if convert is not None]
        self._names: tuple[str, ...] = ()

    def rows(self, connection: sqlite3.Connection, given: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The rows that are found, by their columns' names. Raises sqlite3's errors."""
        cursor = connection.execute(self.sql, self._ordered(given))
        found = cursor.fetchall()
        names = self._names = self._names or tuple(column[0] for column in cursor.description)
        if not self._converted:
            return [dict(zip(names, row, strict=True)) for row in found]
        return [dict(zip(names, self._values(row), strict=True)) for row in found]

    def change(self, connection: sqlite3.Connection, given: Given) -> Changed:
        """Raises IntegrityError for a broken rule, sqlite3's errors for all else."""
        try:
            if isinstance(given, Mapping):
                return Changed(connection.execute(self.sql, self._ordered(given)).rowcount)
            return Changed(connection.executemany(self.sql, [self._ordered(one) for one in given]).rowcount)
        except sqlite3.IntegrityError as error:
            raise IntegrityError(self.sql, None, error) from error

    def _ordered(self, given: Mapping[str, Any]) -> list[Any]:
        if self._fixed:
            given = {**self._fixed, **given}
        return [given[name] if convert is None else convert(given[name]) for name, convert in self._parameters]

    def _values(self, row: Sequence[Any]) -> list[Any]:
        values = list(row)
        for index, convert in self._converted:
            values[index] = convert(values[index])
        return values


class Statements:
    """Those of a process, each for as long as it is there itself."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._seen: WeakKeyDictionary[Any, dict[tuple[str, ...], Prepared | None]] = WeakKeyDictionary()

    def __len__(self) -> int:
        return len(self._seen)

    def prepared(self, statement: Any, given: Given) -> Prepared | None:
        """The statement as it was prepared; None when it is new, or of a kind that is not."""
        forms = self._seen.get(statement)
        if forms is None:
            if isinstance(statement, Select | Insert | Update | Delete):
                self._seen[statement] = {}
            return None
        first = given if isinstance(given, Mapping) else given[0]
        names = tuple(first)
        if names not in forms:
            forms[names] = self._prepare(statement, names)
        return forms[names]

    def _prepare(self, statement: Any, names: tuple[str, ...]) -> Prepared | None:
        is_select = isinstance(statement, Select)
        keys = None if is_select else sorted(names)
        compiled = statement.compile(dialect=self._dialect, column_keys=keys, for_executemany=not is_select)
        assert isinstance(compiled, SQLCompiler)
        beyond = (
            compiled.post_compile_params,
            compiled.literal_execute_params,
            compiled.insert_prefetch,
            compiled.update_prefetch,
            compiled.effective_returning and not is_select,
            [bind for bind in compiled.binds.values() if bind.callable is not None],
        )
        if any(beyond):
            return None
        types = [column.type.dialect_impl(self._dialect) for column in statement.selected_columns] if is_select else []
        return Prepared(compiled, names, [kind.result_processor(self._dialect, None) for kind in types])
