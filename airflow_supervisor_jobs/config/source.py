"""A YAML file as data, with the place of every key and value kept for messages.

The scalars are those of YAML 1.2: only ``true`` and ``false`` are booleans, ``022`` and ``17:00`` and
``2026-01-01`` are texts. So what is written is what is meant, whatever the option.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import yaml

from airflow_supervisor_jobs.exceptions import ConfigError

Keys = tuple[str | int, ...]

#: What ``ssh-keyscan`` prints for another port, which YAML takes for a list.
_SCANNED_KEY = re.compile(r"\s*host_key:\s*\[[^\]]*\]:\d")


class Mark(NamedTuple):
    """A place in a file: line and column, counted from 1, of a key and of its value."""

    key: tuple[int, int]
    value: tuple[int, int]


@dataclass(frozen=True)
class Source:
    """One file's content.

    :param label: what messages call it: its path.
    :param text: as it is in the file.
    :param data: as it is meant.
    :param marks: the place of each thing in ``data``, by the keys that lead to it.
    :param moved: where a thing stands in the file, by where the short form's rules put it.
    """

    label: str
    text: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    marks: Mapping[Keys, Mark] = field(default_factory=dict)
    moved: Mapping[Keys, Keys] = field(default_factory=dict)

    def find(self, keys: Keys, *, of_key: bool = False) -> str | None:
        """Return ``file:line:column`` of what ``keys`` lead to, or None if it is not in this file."""
        mark = self.marks.get(self._origin(keys))
        if mark is None:
            return None
        line, column = mark.key if of_key else mark.value
        return f"{self.label}:{line}:{column}"

    def _origin(self, keys: Keys) -> Keys:
        for length in range(len(keys), 0, -1):
            if keys[:length] in self.moved:
                return self.moved[keys[:length]] + keys[length:]
        return keys


@lru_cache(maxsize=1000)
def parse_source(text: str, *, label: str) -> Source:
    """Return the content of YAML ``text``, which nobody changes.

    :raises ConfigError: it is not a YAML mapping with each key once.
    """
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return Source(label, text, marks={(): Mark((1, 1), (1, 1))})
        if not isinstance(node, yaml.MappingNode):
            raise ConfigError(f"{_place(label, node.start_mark)}: this is not a mapping. Write 'key: value' lines")
        data = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        raise _explain(error, label, text) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{label}: not YAML: {error}") from error
    finally:
        loader.dispose()
    return Source(label, text, data, dict(_marks(node, ())))


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML 1.2's core scalars, and each key only once."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(None, None, "found a key that is not a text", key.start_mark)
            if key.tag == "tag:yaml.org,2002:merge":
                continue
            if key.value in seen:
                raise yaml.MarkedYAMLError(None, None, f"the key {key.value!r} is here twice", key.start_mark)
            seen.add(key.value)
            key.tag = "tag:yaml.org,2002:str"
        mapping: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return mapping


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"-?(?:0|[1-9][0-9]*)", list("-0123456789")),
    ("float", r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?", list("-+0123456789.")),
    ("merge", r"<<", ["<"]),
):  # fmt: skip
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first)


def _marks(node: yaml.Node, keys: Keys) -> Iterator[tuple[Keys, Mark]]:
    if not keys:
        yield (), Mark(_position(node.start_mark), _position(node.start_mark))
    for key, key_node, child in _children(node):
        yield (*keys, key), Mark(_position(key_node.start_mark), _position(child.start_mark))
        yield from _marks(child, (*keys, key))


def _children(node: yaml.Node) -> Iterator[tuple[str | int, yaml.Node, yaml.Node]]:
    if isinstance(node, yaml.MappingNode):
        yield from ((key.value, key, child) for key, child in node.value)
    elif isinstance(node, yaml.SequenceNode):
        yield from ((index, child, child) for index, child in enumerate(node.value))


def _position(mark: yaml.Mark) -> tuple[int, int]:
    return mark.line + 1, mark.column + 1


def _place(label: str, mark: yaml.Mark | None) -> str:
    return f"{label}:{mark.line + 1}:{mark.column + 1}" if mark else label


def _explain(error: yaml.MarkedYAMLError, label: str, text: str) -> ConfigError:
    problem = error.problem or "not YAML"
    hint = _cure(problem, error.problem_mark, text)
    if "constructor for the tag" in problem:
        problem = f"{problem.removeprefix('could not determine a constructor for ')} is not known. Leave it out"
    mark = error.problem_mark or error.context_mark
    if problem == "found unexpected end of stream" and error.context:
        problem, mark = f"{error.context}: it does not end", error.context_mark
    return ConfigError(f"{_place(label, mark)}: {problem}{hint and f'. {hint}'}")


def _cure(problem: str, mark: yaml.Mark | None, text: str) -> str:
    """Return what to do about a problem that PyYAML only names, or an empty text."""
    line = text.splitlines()[mark.line] if mark and mark.line < len(text.splitlines()) else ""
    if _SCANNED_KEY.match(line):
        return "Leave out the name in front: host_key begins with the type of the key, like ssh-ed25519"
    if "not a text" in problem or "unhashable" in problem:
        return "A value that begins with {{ must be in quotes"
    if "mapping values are not allowed" in problem:
        return "A value with ': ' in it must be in quotes; or else the indentation is wrong"
    first = line[mark.column : mark.column + 1] if mark else ""
    if " tab character" in problem or ("cannot start any token" in problem and first == "\t"):
        return "YAML indents with spaces, and this line has a tab"
    if "cannot start any token" in problem and first:
        return f"A value that begins with {first} must be in quotes"
    if "undefined alias" in problem or "alphabetic or numeric character" in problem:
        return "A value that begins with * or & must be in quotes"
    return ""
