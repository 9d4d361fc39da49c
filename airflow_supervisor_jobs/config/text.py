"""The text of supervisord's config files: sections of options, values that come back as they went in."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

_COMMENT_LENGTH = 200


def can_stand(text: str) -> bool:
    """Tell whether ``text`` comes back from supervisord's file as it went in, whatever the host's locale is."""
    has_comment = any(mark in text for mark in (" ;", " #"))
    return text.isascii() and text.isprintable() and text == text.strip() and not has_comment


def section(title: str, values: Mapping[str, Any]) -> str:
    """Return a section with every option that has a value."""
    lines = [f"{key}={_text(value)}" for key, value in values.items() if value is not None]
    return "\n".join([f"[{title}]", *lines, ""])


def comment(command: str | tuple[str, ...]) -> str:
    """Return the command for people to read, on one line of ASCII, cut where it is long."""
    text = command if isinstance(command, str) else " ".join(command)
    shown = text[:_COMMENT_LENGTH] + (" ..." if len(text) > _COMMENT_LENGTH else "")
    return "; " + shown.encode("unicode_escape").decode("ascii")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value.value if isinstance(value, Enum) else value)
