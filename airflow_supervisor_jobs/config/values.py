"""The types of single values: what people may write, and the one form that it becomes.

Where supervisord has a type, supervisord's own function reads the text.
"""

from __future__ import annotations

import math
import re
import shlex
import signal
from datetime import time
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, ValidationInfo
from supervisor import datatypes

from airflow_supervisor_jobs.config.names import nearest

#: The context of a validation whose data people wrote in a file.
FROM_FILE = "a file"

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([smhd]?)\s*")
_TEMPLATE = re.compile(r"\{\{|\{%|\{#")


def is_template(text: str) -> bool:
    """Tell whether ``text`` has Jinja in it, so that what it says is not known yet."""
    return bool(_TEMPLATE.search(text))


def check_text(text: str) -> str:
    """Return ``text`` if the operating system can carry it.

    :raises ValueError: it has a NUL character or half a surrogate pair.
    """
    if "\0" in text:
        raise ValueError("has a NUL character, which no process can be given. Remove it")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError("has half a surrogate pair, which UTF-8 cannot express. Remove it") from error
    return text


def parse_duration(value: Any) -> Any:
    """Return the seconds of ``90``, ``"90s"``, ``"5m"``, ``"2h"`` or ``"1d"``; anything else is left to the type.

    :raises ValueError: negative, endless or not a duration.
    """
    if isinstance(value, str):
        match = _DURATION.fullmatch(value)
        if value.strip().startswith("-"):
            raise ValueError(f"{value!r} is not a duration: it must not be negative")
        if not match:
            raise ValueError(
                f"{value!r} is not a duration. Write seconds, or a number with s, m, h or d, like '90s' or '2h'"
            )
        value = float(match[1]) * _UNITS[match[2]]
        value = int(value) if value.is_integer() else value
    if isinstance(value, bool):
        raise ValueError("true and false are no durations. Write seconds, or a text like '90s' or '2h'")  # noqa: TRY004
    if isinstance(value, int | float) and (value < 0 or not math.isfinite(value)):
        raise ValueError(f"{value} is not a duration. It must be 0 or more")
    return value


def parse_byte_size(value: Any) -> Any:
    """Return the bytes of supervisord's ``50MB``, ``64KB``, ``1GB`` or a plain number.

    :raises ValueError: not a size.
    """
    if isinstance(value, str):
        try:
            value = datatypes.byte_size(value.strip())
        except ValueError as error:
            raise ValueError(f"{value!r} is not a size. Write bytes, or a whole number with KB, MB or GB") from error
    return value


def parse_signal(value: Any) -> Any:
    """Return a signal's short name, ``TERM``, for what supervisord would understand as it.

    :raises ValueError: there is no such signal.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        return value
    try:
        return signal.Signals(datatypes.signal_number(value)).name.removeprefix("SIG")
    except ValueError as error:
        raise ValueError(f"{value!r} is not a signal. Write a name like TERM, INT, HUP or USR1") from error


def parse_octal(value: Any, info: ValidationInfo) -> Any:
    """Return the number that supervisord reads in octal digits; in a file, ``22`` are such digits too.

    :raises ValueError: not octal.
    """
    if info.context is FROM_FILE and type(value) is int:
        value = str(value)
    if isinstance(value, str):
        try:
            return datatypes.octal_type(value)
        except ValueError as error:
            raise ValueError(f"{value!r} is not octal. Write digits from 0 to 7, like '022'") from error
    return value


def parse_boolean(value: Any) -> Any:
    """Return what supervisord takes a word like ``yes`` or ``off`` for."""
    if isinstance(value, str):
        try:
            return datatypes.boolean(value.strip())
        except ValueError as error:
            raise ValueError(f"{value!r} is neither true nor false") from error
    return value


def parse_list(value: Any) -> Any:
    """Return the items of ``a, b`` as supervisord splits them; a single number becomes a list of one."""
    if isinstance(value, str):
        return datatypes.list_of_strings(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return [value]
    return value


def parse_autorestart(value: Any) -> Any:
    """Return ``unexpected``, True or False for what supervisord takes the word for.

    :raises ValueError: none of the three.
    """
    word = str(value).strip().lower()
    if word == "unexpected":
        return word
    try:
        return datatypes.boolean(word)
    except ValueError as error:
        guess = nearest(word, ("unexpected", "true", "false"))
        hint = f"Did you mean {guess}?" if guess else "Write one of the three"
        raise ValueError(f"{value!r} is none of true, false and unexpected. {hint}") from error


def parse_clock(value: Any) -> Any:
    """Return a time of day as ``HH:MM`` or ``HH:MM:SS``.

    :raises ValueError: not a time of day.
    """
    if isinstance(value, time):
        return value.isoformat("seconds" if value.second else "minutes")
    if isinstance(value, str):
        match = re.fullmatch(r"(\d{1,2}):(\d\d)(?::(\d\d))?", value.strip())
        if not match or int(match[1]) > 23 or int(match[2]) > 59 or int(match[3] or 0) > 59:
            raise ValueError(f"{value!r} is not a time of day. Write HH:MM or HH:MM:SS")
        return ":".join(part for part in (match[1].zfill(2), match[2], match[3]) if part)
    return value


def parse_command(value: Any) -> Any:
    """Return a command that has at least one word; a list's numbers become text.

    :raises ValueError: empty.
    """
    if isinstance(value, bool):
        raise ValueError("is a boolean to YAML, not a text. Put it in quotes")  # noqa: TRY004
    if not isinstance(value, str | list | tuple):
        raise ValueError("is neither a text nor a list. Write the program and its arguments")  # noqa: TRY004
    if not isinstance(value, str):
        value = [str(word) if type(word) is int else word for word in value]
    if not value or (isinstance(value, str) and not value.strip()):
        raise ValueError("is empty. Write the program and its arguments")
    return value


def check_command(value: str | tuple[str, ...]) -> str | tuple[str, ...]:
    """Return the command if it can be carried and its words can be told apart.

    :raises ValueError: NUL, or quotes that do not close.
    """
    for word in (value,) if isinstance(value, str) else value:
        check_text(word)
    return value


def split_command(command: str) -> tuple[str, ...]:
    """Return the words of ``command`` as a POSIX shell would split them.

    :raises ValueError: a quote is not closed, or there is no word at all.
    """
    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        raise ValueError(
            f"cannot be split into words ({error}). Close the quotes, or give a list of arguments"
        ) from error
    if not words:
        raise ValueError("has no words. Write the program and its arguments")
    return words


def _octal_text(value: int | None) -> str | None:
    return None if value is None else f"{value:03o}"


#: Text that a process can be given.
Text = Annotated[str, AfterValidator(check_text)]
#: Seconds, with or without a fraction.
Duration = Annotated[float, BeforeValidator(parse_duration, json_schema_input_type=float | str)]
#: Seconds where supervisord knows whole ones only.
WholeSeconds = Annotated[int, BeforeValidator(parse_duration, json_schema_input_type=int | str), Field(ge=0)]
#: Bytes.
ByteSize = Annotated[int, BeforeValidator(parse_byte_size, json_schema_input_type=int | str), Field(ge=0)]
#: A signal's name without its SIG.
SignalName = Annotated[str, BeforeValidator(parse_signal, json_schema_input_type=str | int)]
#: Permission bits; text is octal.
Octal = Annotated[
    int,
    BeforeValidator(parse_octal, json_schema_input_type=int | str),
    Field(ge=0, le=0o7777),
    PlainSerializer(_octal_text, return_type=str, when_used="json"),
]
#: True or false, also in supervisord's words.
Boolean = Annotated[bool, BeforeValidator(parse_boolean, json_schema_input_type=bool | str)]
#: Names, as a list or separated by commas.
Strings = Annotated[tuple[str, ...], BeforeValidator(parse_list, json_schema_input_type=list[str] | str)]
#: Exit statuses, as a list, a number, or separated by commas.
ExitCodes = Annotated[
    tuple[Annotated[int, Field(ge=0, le=255)], ...],
    BeforeValidator(parse_list, json_schema_input_type=list[int] | int | str),
]
#: A time of day.
Clock = Annotated[str, BeforeValidator(parse_clock)]
#: A command line, or its words.
Command = Annotated[
    str | tuple[str, ...],
    BeforeValidator(parse_command, json_schema_input_type=str | list[str | int]),
    AfterValidator(check_command),
]
