"""supervisord's `%(name)s` in the options of a program: which are replaced, and which cannot be.

Any other `%` is itself. `%%(process_num)d` is the text `%(process_num)d`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_TOKEN = re.compile(
    r"%(?P<escaped>%?)\((?P<name>program_name|group_name|process_num|numprocs|here|host_node_name|ENV_\w+)\)"
    r"(?P<form>[-+ #0-9]*[sdixXo])"
)
_FOREIGN = re.compile(r"here|host_node_name|ENV_\w+")


def expand(text: str, values: Mapping[str, str | int]) -> str:
    """Return ``text`` with the expansions of ``values`` replaced; those that it has no value for stay.

    :raises ValueError: an expansion that only the host knows, or a number's format for a name.
    """
    return _TOKEN.sub(lambda token: token[0][1:] if token["escaped"] else _value(token, values), text)


def expand_for_supervisord(text: str, values: Mapping[str, str | int]) -> str:
    """Return ``text`` so that supervisord expands what ``values`` leave over, and nothing else, in it."""
    parts, end = [], 0
    for token in _TOKEN.finditer(text):
        value = token[0][1:] if token["escaped"] else _value(token, values)
        is_left_over = value == token[0]
        parts += [escape(text[end : token.start()]), value if is_left_over else escape(value)]
        end = token.end()
    return "".join([*parts, escape(text[end:])])


def escape(text: str) -> str:
    """Return ``text`` so that supervisord expands nothing in it."""
    return text.replace("%", "%%")


def has_process_num(text: str) -> bool:
    """Tell whether ``text`` differs from one process of a program to the next."""
    return any(not token["escaped"] and token["name"] == "process_num" for token in _TOKEN.finditer(text))


def _value(token: re.Match[str], values: Mapping[str, str | int]) -> str:
    name = token["name"]
    if _FOREIGN.fullmatch(name):
        raise ValueError(
            f"{token[0]} is known on the host only. Use shell: true with $NAME, or double the % for the text itself"
        )
    if name not in values:
        return token[0]
    try:
        return f"%{token['form']}" % values[name]
    except (TypeError, ValueError) as error:
        raise ValueError(f"{token[0]} cannot be formatted: {error}") from error
