"""Pydantic's findings in the words of this project: what the value must be, and so what to write."""

from __future__ import annotations

import re

from pydantic_core import ErrorDetails

from airflow_supervisor_jobs.config.names import nearest

_MAPPING = "must be a mapping, NAME: VALUE"
_LIST = "must be a list, like [a, b]"
_WHOLE = "must be a whole number"
_NUMBER = "must be a number"
_BOOLEAN = "must be true or false"
_MOMENT = "must be a date or a time, like 2026-01-31 or 2026-01-31T08:00"
_SPAN = "must be a duration: seconds, or a number with s, m, h or d, like '90s' or '2h'"
_EMPTY = "must not be empty"

#: By pydantic's type of a finding; the names in braces are of its context.
_WORDS = {
    "dict_type": _MAPPING, "model_type": _MAPPING, "model_attributes_type": _MAPPING,
    "list_type": _LIST, "tuple_type": _LIST,
    "int_type": _WHOLE, "int_parsing": _WHOLE, "int_from_float": _WHOLE,
    "float_type": _NUMBER, "float_parsing": _NUMBER, "finite_number": "must be a finite number",
    "bool_type": _BOOLEAN, "bool_parsing": _BOOLEAN,
    "datetime_type": _MOMENT, "datetime_parsing": _MOMENT, "datetime_from_date_parsing": _MOMENT,
    "time_delta_type": _SPAN, "time_delta_parsing": _SPAN,
    "greater_than": "must be more than {gt}", "greater_than_equal": "must be {ge} or more",
    "less_than": "must be less than {lt}", "less_than_equal": "must be {le} or less",
    "too_short": _EMPTY, "string_too_short": _EMPTY,
    "string_pattern_mismatch": "does not have its form, which is the pattern {pattern}",
}  # fmt: skip


def message_of(finding: ErrorDetails) -> str:
    """Return what is wrong with a value, and the cure; pydantic's own words where we have none."""
    kind, context = finding["type"], finding.get("ctx", {})
    if kind == "string_type":
        return "must be text" if isinstance(finding["input"], list | dict | None) else "must be text: put it in quotes"
    if kind in ("enum", "literal_error"):
        guess = nearest(str(finding["input"]), re.findall(r"'([^']*)'", context["expected"]))
        return f"must be {context['expected']}" + (f". Did you mean {guess!r}?" if guess else "")
    if kind in _WORDS:
        return _WORDS[kind].format(**context)
    message = re.sub(r"^(Value|Assertion) error, ", "", finding["msg"])
    return message[0].lower() + message[1:] if message.startswith("Input should") else message
