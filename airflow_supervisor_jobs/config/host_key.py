"""A host's public key, as ``ssh-keyscan`` prints it without the name."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator

from airflow_supervisor_jobs.config.values import Text, is_template

_CURE = "Take a line of ssh-keyscan without the name: ssh-ed25519 AAAA..."
_KINDS = ("ssh-", "ecdsa-", "sk-")


def check_host_key(text: str) -> str:
    """Return ``text`` if it is a public key, ``TYPE BASE64`` with or without a comment; the type may be missing.

    Whether a host can have such a key is left to those who connect.

    :raises ValueError: its base64 is broken or cut, or holds a key of another type.
    """
    if is_template(text):
        return text
    first, *rest = text.split() or [""]
    kind, data = (first, rest[0] if rest else "") if first.startswith(_KINDS) else ("", first)
    found = _kind_of(data)
    if not found and rest and rest[0].startswith(_KINDS):
        raise ValueError(f"begins with a name, {first}. Leave it out: host_key begins with the type of the key")
    if not found:
        raise ValueError(f"is not a public key: after its type there is no base64 that holds one. {_CURE}")
    if kind and kind != found:
        raise ValueError(f"says {kind}, and its base64 holds a key of type {found}. {_CURE}")
    return text


def _kind_of(data: str) -> str:
    """Return the type of the key that base64 ``data`` holds whole, or an empty text."""
    try:
        fields = list(_fields(base64.b64decode(data, validate=True)))
        kind = fields[0].decode("ascii") if len(fields) > 1 else ""
    except (binascii.Error, ValueError):
        return ""
    return kind if kind.startswith(_KINDS) else ""


def _fields(blob: bytes) -> Iterator[bytes]:
    """Give the fields of a key, each of which has its length before it.

    :raises ValueError: the last is cut.
    """
    while blob:
        size = int.from_bytes(blob[:4], "big")
        field, blob = blob[4 : 4 + size], blob[4 + size :]
        if not size or len(field) < size:
            raise ValueError("the key is cut")
        yield field


#: A host's public key.
HostKey = Annotated[Text, AfterValidator(check_host_key)]
