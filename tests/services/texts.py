"""Texts that are hard to carry, for hypothesis, and the YAML that says them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml
from hypothesis import strategies as st

#: What breaks formats: quotes of both kinds, supervisord's and Hydra's and Jinja's own signs, line ends, blanks.
HARD = (
    '"', "'", "\\", "%", "%%", "%(here)", "%s", ";", " ;", "#", " #", "\n", "\r", "\t", " ", "$", "${", "\\${", "$HOME",
    "{", "}", "[", "]", "{}", ",", "=", ":", ": ", "- ", "*", "&", "!", "|", ">", "?", "@", "`", "~", "null", "true",
    "1", "022", "1.5", "[program:x]\ncommand=evil", "é", "日本", "🐌", "\x00e", "\x1b[31m", "\x7f", "\x85", "\u2028",
    "\ufeff",
)  # fmt: skip

texts = st.one_of(
    st.lists(st.sampled_from(HARD).map(lambda text: text.replace("\x00", "")), max_size=8).map("".join),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40),
).filter(lambda text: not re.search(r"%\((here|host_node_name|ENV_\w+)\)|\{\{|\{%|\{#", text))

names = st.from_regex(r"[A-Z][A-Z0-9_]{0,20}", fullmatch=True).map(lambda name: f"X_{name}")


class _Quoting(yaml.SafeDumper):
    """Every text in quotes: PyYAML leaves them out by the rules of YAML 1.1, where ``0E0`` is no number."""


_Quoting.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))


def as_yaml(data: Mapping[str, Any]) -> str:
    """Return a file that says ``data`` and nothing else: no ``${`` in it is an interpolation."""
    return yaml.dump(_literal(data), Dumper=_Quoting, allow_unicode=False, width=10**9)


def _literal(value: Any) -> Any:
    if isinstance(value, str):
        return re.sub(r"(\\*)\$\{", lambda match: match[1] * 2 + "\\${", value)
    if isinstance(value, list | tuple):
        return [_literal(item) for item in value]
    return {key: _literal(item) for key, item in value.items()} if isinstance(value, dict) else value
