"""Text as both databases take it."""

from sqlalchemy import Dialect, String, Text, TypeDecorator

from session.model import storable


class Name(TypeDecorator[str]):
    """Text of bounded length that both databases take: PostgreSQL refuses NUL, to store it as to look for it."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None or (value.isascii() and "\x00" not in value):
            return value
        return storable(value)


class LongText(Name):
    """The same, of any length."""

    impl = Text
    cache_ok = True
