"""A service may be newer than the command line: it shows enum values that it does not know, too."""

from __future__ import annotations

import importlib
import inspect
import io
import pkgutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, TypeVar, get_args, get_type_hints

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.date_pb2 import Date
from google.type.money_pb2 import Money
from rich.console import Console

from service.cli import views
from service.cli.console import enum_word
from service.cli.report import report_view
from truestock.v1 import order_pb2

UNKNOWN = 77
DEPTH = 6
SCALARS: dict[Any, Any] = {str: "1", bool: False, int: 1, float: 1.0}
AnyMessage = TypeVar("AnyMessage", bound=Message)


def filled(message: AnyMessage, depth: int = DEPTH) -> AnyMessage:
    """The message with a value in every field, and one of a newer version in every enum."""
    if isinstance(message, Timestamp):
        message.FromDatetime(datetime(2026, 11, 27, 9, tzinfo=UTC))
    elif isinstance(message, Date):
        message.year, message.month, message.day = 2026, 11, 27
    elif isinstance(message, Money):
        message.currency_code, message.units = "USD", 5
    else:
        for field in message.DESCRIPTOR.fields:
            _fill(message, field, depth)
    return message


def _fill(message: Message, field: Any, depth: int) -> None:
    current = getattr(message, field.name)
    if field.message_type is not None:
        if depth and not field.message_type.GetOptions().map_entry:
            if hasattr(current, "add"):
                filled(current.add(), depth - 1)
            else:
                filled(current, depth - 1).SetInParent()
        return
    text = "{}" if field.name.endswith("_json") else "UTC" if field.name == "time_zone" else "1"
    strings: dict[int, Any] = {FieldDescriptor.TYPE_STRING: text, FieldDescriptor.TYPE_BYTES: b"1"}
    value = UNKNOWN if field.enum_type is not None else strings.get(field.type, 1)
    if hasattr(current, "append"):
        current.append(value)
    else:
        setattr(message, field.name, value)


def printers() -> Iterator[tuple[str, Callable[..., object], dict[str, Any]]]:
    """The functions that print messages of the API, each with messages to print."""
    modules = [
        importlib.import_module(f"{views.__name__}.{found.name}") for found in pkgutil.iter_modules(views.__path__)
    ]
    for module in (*modules, report_view):
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if name.startswith("print_") and function.__module__ == module.__name__:
                hints, parameters = get_type_hints(function), inspect.signature(function).parameters
                needed = [key for key, parameter in parameters.items() if parameter.default is parameter.empty]
                arguments = {key: _argument(hints[key]) for key in needed}
                if None not in arguments.values():
                    yield f"{module.__name__.rpartition('.')[2]}.{name}", function, arguments


def _argument(hint: Any) -> Any:
    """A value of that type; None if it is no type of the API."""
    if hint is Console:
        return Console(file=io.StringIO(), width=400)
    if hint in SCALARS:
        return SCALARS[hint]
    if isinstance(hint, type) and issubclass(hint, Message):
        return filled(hint())
    (entry,) = get_args(hint)[:1] or (None,)
    if isinstance(entry, type) and issubclass(entry, Message):
        return [filled(entry())]
    return None


PRINTERS = list(printers())


@pytest.mark.parametrize(("function", "arguments"), [x[1:] for x in PRINTERS], ids=[x[0] for x in PRINTERS])
def test_what_a_newer_service_answers_is_printed(function: Callable[..., object], arguments: dict[str, Any]) -> None:
    function(**arguments)


def test_most_views_are_tried() -> None:
    assert len(PRINTERS) > 25


def test_an_unknown_value_is_named_by_its_number() -> None:
    assert enum_word(order_pb2.OrderStatus, UNKNOWN, "ORDER_STATUS_") == "unknown (77)"
    assert enum_word(order_pb2.OrderStatus, order_pb2.ORDER_STATUS_IN_PROGRESS, "ORDER_STATUS_") == "in progress"
