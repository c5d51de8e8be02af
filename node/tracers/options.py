"""Options of requests as geth's JSON decoder reads them: any case, unknown names ignored, null for the default."""

from __future__ import annotations

import re
from typing import Any, Final, TypeVar

import msgspec

from node.api.errors import InvalidParams

OptionsT = TypeVar("OptionsT", bound=msgspec.Struct)

_DURATION: Final = re.compile(r"[-+]?(0|(\d++\.?\d*+|\.\d++)(ns|us|µs|μs|ms|s|m|h))+")
"""A duration of Go's time.ParseDuration."""


def read_options(form: type[OptionsT], given: object, what: str) -> OptionsT:
    """The options of a tracer. Raises `InvalidParams` for values of a wrong type."""
    if given is None:
        return form()
    if not isinstance(given, dict):
        raise InvalidParams(f"{what}: expected an object")
    names = {name.lower(): name for name in form.__struct_encode_fields__}
    known = {names[key.lower()]: value for key, value in given.items() if key.lower() in names and value is not None}
    try:
        return msgspec.convert(known, form)
    except msgspec.ValidationError as error:
        raise InvalidParams(f"{what}: {error}") from None


def option(given: dict[str, Any], name: str) -> Any:
    """The value of one option, None if it is not given."""
    return next((value for key, value in given.items() if key.lower() == name.lower()), None)


def check_timeout(given: dict[str, Any]) -> None:
    """Refuse a ``timeout`` that geth would; what bounds a trace here is gas and the size of the answer."""
    timeout = option(given, "timeout")
    if timeout is None:
        return
    if not isinstance(timeout, str) or len(timeout) > 64 or not _DURATION.fullmatch(timeout):
        raise InvalidParams(f"timeout: {str(timeout)[:60]!r} is not a duration such as '5s' or '1m30s'")
