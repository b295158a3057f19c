"""Questions with known answers about SQLAlchemy, written from knowing it, before anything was measured.

Each has the section that answers it: the module's path, and the class or function whose docstring it is. Where several
sections answer a question, each is named. They ask as people do: some name what they look for, most tell what they want.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Question(NamedTuple):
    """`answers`: (path, section)."""

    asked: str
    answers: tuple[tuple[str, str], ...]


def _ask(asked: str, *answers: str) -> Question:
    return Question(asked, tuple((f"{place.partition(':')[0]}.md", place.partition(":")[2]) for place in answers))


ORM: Final = "sqlalchemy/orm"
SQL: Final = "sqlalchemy/sql"
ENGINE: Final = "sqlalchemy/engine"

QUESTIONS: Final = (
    # sessions
    _ask("copy the state of a detached object into the current session", f"{ORM}/session:Session.merge"),
    _ask("reload an object's attributes from the database right now", f"{ORM}/session:Session.refresh"),
    _ask("remove an instance from the session without deleting the row", f"{ORM}/session:Session.expunge"),
    _ask("look up an object by its primary key in the identity map first", f"{ORM}/session:Session.get"),
    _ask("use a savepoint in the ORM", f"{ORM}/session:Session.begin_nested"),
    _ask("temporarily switch off autoflush inside a with block", f"{ORM}/session:Session.no_autoflush"),
    _ask("has this object any changes that would be written on flush", f"{ORM}/session:Session.is_modified"),
    _ask("factory that makes sessions with a fixed configuration", f"{ORM}/session:sessionmaker"),
    _ask("turn a persistent object into a new one that can be inserted again", f"{ORM}/session:make_transient"),
    _ask(
        "thread local session registry: how to close it at the end of a web request",
        f"{ORM}/scoping:scoped_session.remove",
    ),
    _ask("which session does an instance belong to", f"{ORM}/session:object_session"),
    # mapping
    _ask(
        "cascade delete orphan setting of a relation between two mapped classes",
        f"{ORM}/_orm_constructors:relationship",
    ),
    _ask("map an SQL expression as a read-only attribute of a class", f"{ORM}/_orm_constructors:column_property"),
    _ask("group several columns into one value object", f"{ORM}/_orm_constructors:composite"),
    _ask("alternative name for a mapped attribute", f"{ORM}/_orm_constructors:synonym"),
    _ask("check or convert a value whenever an attribute of a mapped object is set", f"{ORM}/mapper:validates"),
    _ask(
        "run code when an object is loaded instead of __init__",
        f"{ORM}/mapper:reconstructor",
        f"{ORM}/events:InstanceEvents.load",
    ),
    _ask("declare columns in a mixin class that are computed per subclass", f"{ORM}/decl_api:declared_attr"),
    _ask("mapped classes that behave as Python dataclasses", f"{ORM}/decl_api:MappedAsDataclass"),
    _ask("map a class to a table without declarative, classical mapping", f"{ORM}/decl_api:registry.map_imperatively"),
    _ask(
        "a mutable JSON value was changed in place and is not saved: mark attribute as changed",
        f"{ORM}/attributes:flag_modified",
    ),
    _ask("set an attribute's value without recording it as a change", f"{ORM}/attributes:set_committed_value"),
    _ask("a relationship as a dictionary keyed by an attribute", f"{ORM}/mapped_collection:attribute_keyed_dict"),
    # loading
    _ask("eager loading with a second SELECT that uses IN", f"{ORM}/strategy_options:_AbstractLoad.selectinload"),
    _ask("raise an error when a lazy load would happen", f"{ORM}/strategy_options:_AbstractLoad.raiseload"),
    _ask("load only some columns of an entity", f"{ORM}/strategy_options:_AbstractLoad.load_only"),
    _ask(
        "use an explicit join that I wrote to populate a relationship collection",
        f"{ORM}/strategy_options:_AbstractLoad.contains_eager",
    ),
    _ask("add a WHERE criterion to every query of an entity, such as soft delete", f"{ORM}/util:LoaderCriteriaOption"),
    _ask("overwrite objects already in the session with fresh rows of a query", f"{ORM}/query:Query.populate_existing"),
    _ask("fetch a huge result of ORM objects in batches", f"{ORM}/query:Query.yield_per"),
    # events
    _ask("hook that is called before a flush has begun", f"{ORM}/events:SessionEvents.before_flush"),
    _ask(
        "intercept all SELECT, UPDATE and DELETE statements of a session", f"{ORM}/events:SessionEvents.do_orm_execute"
    ),
    _ask("decorator to register a listener function for an event", "sqlalchemy/event/api:listens_for"),
    _ask(
        "modify the SQL string and parameters before the cursor runs them",
        f"{ENGINE}/events:ConnectionEvents.before_cursor_execute",
    ),
    _ask("called when a connection is taken out of the pool", "sqlalchemy/pool/events:PoolEvents.checkout"),
    # engine
    _ask("echo all SQL to the log, pool size and recycle settings", f"{ENGINE}/create:create_engine"),
    _ask("close all pooled connections of an engine, for example after fork", f"{ENGINE}/base:Engine.dispose"),
    _ask("set the isolation level or stream results for one connection", f"{ENGINE}/base:Connection.execution_options"),
    _ask("send a string straight to the DBAPI cursor", f"{ENGINE}/base:Connection.exec_driver_sql"),
    _ask("engine from a dictionary of settings read out of an ini file", f"{ENGINE}/create:engine_from_config"),
    _ask(
        "build a database URL from username, password with special characters, host and database",
        f"{ENGINE}/url:URL.create",
    ),
    _ask("show a URL with the password hidden", f"{ENGINE}/url:URL.render_as_string"),
    _ask("rows as dictionaries", f"{ENGINE}/result:Result.mappings"),
    _ask("first column of each row", f"{ENGINE}/result:Result.scalars"),
    _ask("list the foreign keys of an existing table", f"{ENGINE}/reflection:Inspector.get_foreign_keys"),
    _ask("does a table exist in the database", f"{ENGINE}/reflection:Inspector.has_table"),
    _ask("pool that opens a new connection each time and keeps none", "sqlalchemy/pool/impl:NullPool"),
    # expressions
    _ask("SELECT FOR UPDATE SKIP LOCKED", f"{SQL}/selectable:GenerativeSelect.with_for_update"),
    _ask("recursive common table expression", f"{SQL}/selectable:HasCTE.cte"),
    _ask("if then else conditional expression in SQL", f"{SQL}/_elements_constructors:case"),
    _ask("window function with PARTITION BY and ORDER BY", f"{SQL}/_elements_constructors:over"),
    _ask("sort so that rows without a value come at the end", f"{SQL}/_elements_constructors:nulls_last"),
    _ask("convert an expression to another SQL type", f"{SQL}/_elements_constructors:cast"),
    _ask(
        "treat an expression as another type on the Python side without rendering CAST",
        f"{SQL}/_elements_constructors:type_coerce",
    ),
    _ask("case insensitive pattern matching", f"{SQL}/operators:ColumnOperators.ilike"),
    _ask("compare so that two NULL values count as equal", f"{SQL}/operators:ColumnOperators.is_not_distinct_from"),
    _ask("custom operator that is not built in", f"{SQL}/operators:Operators.op"),
    _ask("regular expression search in a WHERE clause", f"{SQL}/operators:ColumnOperators.regexp_match"),
    _ask("insert rows that come out of a select", f"{SQL}/dml:Insert.from_select"),
    _ask("get back columns of rows that were inserted or updated", f"{SQL}/dml:UpdateBase.returning"),
    _ask("upsert in PostgreSQL", "sqlalchemy/dialects/postgresql/dml:Insert.on_conflict_do_update"),
    _ask(
        "MySQL: update the row when the key exists already",
        "sqlalchemy/dialects/mysql/dml:Insert.on_duplicate_key_update",
    ),
    # schema and types
    _ask("emit CREATE TABLE for everything that is not there yet", f"{SQL}/schema:MetaData.create_all"),
    _ask("copy a table definition into another metadata or schema", f"{SQL}/schema:Table.to_metadata"),
    _ask("tables in the order of their dependencies", f"{SQL}/schema:MetaData.sorted_tables"),
    _ask("generated column whose value the database computes", f"{SQL}/schema:Computed"),
    _ask(
        "custom type that wraps an existing one and changes values on their way in and out",
        f"{SQL}/type_api:TypeDecorator",
    ),
    _ask("another type for one dialect only", f"{SQL}/type_api:TypeEngine.with_variant"),
    _ask("store a Python enum", f"{SQL}/sqltypes:Enum"),
    _ask("store arbitrary Python objects by pickling", f"{SQL}/sqltypes:PickleType"),
    # extensions
    _ask("run synchronous ORM code inside an async session", "sqlalchemy/ext/asyncio/session:AsyncSession.run_sync"),
    _ask("await a lazy loaded attribute under asyncio", "sqlalchemy/ext/asyncio/session:AsyncAttrs"),
    _ask(
        "different SQL expression for a hybrid attribute at class level",
        "sqlalchemy/ext/hybrid:hybrid_property.expression",
    ),
    _ask("keep list items numbered by their position", "sqlalchemy/ext/orderinglist:ordering_list"),
    _ask(
        "view of a related object's attribute through a many to many relation",
        "sqlalchemy/ext/associationproxy:association_proxy",
    ),
    _ask("track in-place changes of a dictionary column", "sqlalchemy/ext/mutable:MutableDict"),
)
