"""Claims about statements that SQLite is given as they are: they do what they do through SQLAlchemy."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    bindparam,
    create_engine,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from store.columns import Name
from store.prepared import Statements

things = Table(
    "things",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("name", Name(20), nullable=False, unique=True),
    Column("live", Boolean, nullable=False),
    Column("body", LargeBinary),
    Column("count", Integer, default=7),
)
ALL: dict[str, Any] = {"id": 1, "name": "a", "live": True, "body": b"\x00\xff", "count": 1}
NAMED = select(things).where(things.c.name == bindparam("called")).order_by(things.c.id)


OTHERS = things.alias()


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    engine = create_engine(f"sqlite:///{tmp_path}/things.db")
    with engine.connect() as opened:
        things.metadata.create_all(opened)
        opened.execute(insert(things), [ALL, {**ALL, "id": 2, "name": "b", "live": False, "body": None}])
        opened.commit()
        yield opened
    engine.dispose()


@pytest.fixture
def statements(connection: Connection) -> Statements:
    return Statements(connection.dialect)


def raw(connection: Connection) -> sqlite3.Connection:
    found = connection.connection.driver_connection
    assert isinstance(found, sqlite3.Connection)
    return found


def prepared(statements: Statements, statement: Any, given: Any) -> Any:
    assert statements.prepared(statement, given) is None, "most statements are executed once: they are not prepared"
    return statements.prepared(statement, given)


@pytest.mark.parametrize(
    ("query", "given"),
    [
        (NAMED, {"called": "a"}),
        (NAMED, {"called": "b"}),
        (NAMED, {"called": "nobody"}),
        (NAMED, {"called": "with\x00nul"}),
        (select(things.c.live, things.c.body.label("content")).where(things.c.id == 1), {}),
        (select(func.count()).select_from(things).where(things.c.live), {}),
        (select(things.c.id).order_by(things.c.id.desc()).limit(1), {}),
        (select(things, OTHERS.c.name).join(OTHERS, OTHERS.c.id == things.c.id).where(things.c.id == 2), {}),
    ],
)
def test_rows_are_those_that_sqlalchemy_gives(
    connection: Connection, statements: Statements, query: Any, given: Any
) -> None:
    expected = [dict(row) for row in connection.execute(query, given).mappings()]
    assert prepared(statements, query, given).rows(raw(connection), given) == expected


def test_changes_are_those_that_sqlalchemy_makes(connection: Connection, statements: Statements) -> None:
    append, rows = insert(things), [{**ALL, "id": 3, "name": "c\x00"}, {**ALL, "id": 4, "name": "d", "live": False}]
    assert prepared(statements, append, rows).change(raw(connection), rows).rowcount == 2
    rename = update(things).where(things.c.id == bindparam("which")).values(name=bindparam("new"), live=False)
    given = {"which": 4, "new": "e"}
    assert prepared(statements, rename, given).change(raw(connection), given).rowcount == 1
    assert [tuple(row) for row in connection.execute(select(things).where(things.c.id > 2))] == [
        (3, "c\ufffd", True, b"\x00\xff", 1),
        (4, "e", False, b"\x00\xff", 1),
    ]


def test_other_names_of_parameters_are_another_form_of_a_statement(
    connection: Connection, statements: Statements
) -> None:
    change = update(things).where(things.c.id == bindparam("which"))
    for given in ({"which": 1, "name": "x"}, {"which": 1, "live": False}):
        statements.prepared(change, given)
        form = statements.prepared(change, given)
        assert form is not None
        form.change(raw(connection), given)
    row = connection.execute(select(things.c.name, things.c.live).where(things.c.id == 1)).one()
    assert tuple(row) == ("x", False)


def test_a_broken_rule_is_the_error_that_it_always_is(connection: Connection, statements: Statements) -> None:
    append = insert(things)
    with pytest.raises(IntegrityError):
        prepared(statements, append, ALL).change(raw(connection), ALL)


def test_a_parameter_that_was_forgotten_is_not_taken_for_null(connection: Connection, statements: Statements) -> None:
    with pytest.raises(KeyError, match="called"):
        prepared(statements, NAMED, {})
    with pytest.raises(KeyError, match="called"):
        prepared(statements, select(NAMED.subquery()), {"called": "a"}).rows(raw(connection), {})


@pytest.mark.parametrize(
    ("statement", "given"),
    [
        (select(things).where(things.c.id.in_([1, 2])), {}),
        (insert(things), {"name": "without its count, which has a default", "live": True}),
        (update(things).values(live=True).returning(things.c.id), {}),
        (insert(things).values(id=9, name="z", live=True, count=1).returning(things.c.id), {}),
    ],
)
def test_what_needs_more_stays_with_sqlalchemy(statements: Statements, statement: Any, given: Any) -> None:
    assert prepared(statements, statement, given) is None


def test_statements_that_are_gone_are_forgotten(statements: Statements) -> None:
    for number in range(100):
        prepared(statements, select(things).where(things.c.id == number), {})
    assert not len(statements)
