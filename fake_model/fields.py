"""Small checks of JSON fields, with messages that name the place as the real API's do."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from fake_model.refusal import Refused

JsonObject = dict[str, Any]


def refuse(place: str, problem: str) -> Refused:
    return Refused(f"{place}: {problem}")


def an_object(place: str, value: Any) -> JsonObject:
    if not isinstance(value, dict):
        raise refuse(place, "Input should be a valid dictionary")
    return value


def a_list(place: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise refuse(place, "Input should be a valid list")
    return value


def no_extras(place: str, value: JsonObject, allowed: Collection[str]) -> None:
    for name in value:
        if name not in allowed:
            raise refuse(f"{place}.{name}" if place else name, "Extra inputs are not permitted")


def required(place: str, value: JsonObject, name: str) -> Any:
    if name not in value:
        raise refuse(f"{place}.{name}" if place else name, "Field required")
    return value[name]


def a_string(place: str, value: JsonObject, name: str) -> str:
    found = required(place, value, name)
    if not isinstance(found, str):
        raise refuse(f"{place}.{name}" if place else name, "Input should be a valid string")
    return found


def one_of(place: str, value: Any, allowed: Collection[str]) -> None:
    if value not in allowed:
        *most, last = (repr(option) for option in allowed)
        options = f"{', '.join(most)} or {last}" if most else last
        raise refuse(place, f"Input should be {options}")


def a_number(place: str, value: Any, least: float, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise refuse(place, "Input should be a valid number")
    if value < least:
        raise refuse(place, f"Input should be greater than or equal to {least:g}")
    if value > most:
        raise refuse(place, f"Input should be less than or equal to {most:g}")


def an_integer(place: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise refuse(place, "Input should be a valid integer")
    if value < least:
        raise refuse(place, f"Input should be greater than or equal to {least}")
    return value


def a_cache_control(place: str, value: JsonObject) -> None:
    """Checks `cache_control` where there is one; null counts as none."""
    control = value.get("cache_control")
    if control is None:
        return
    place = f"{place}.cache_control" if place else "cache_control"
    no_extras(place, an_object(place, control), ("type", "ttl"))
    one_of(f"{place}.type", control.get("type"), ("ephemeral",))
    if "ttl" in control:
        one_of(f"{place}.ttl", control["ttl"], ("5m", "1h"))
