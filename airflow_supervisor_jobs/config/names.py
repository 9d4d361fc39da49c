"""Names: which ones are allowed, and which known one a wrong one was probably meant to be."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator

#: What names of jobs, programs, groups, hosts and policies must match as a whole.
NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"

_NAME = re.compile(NAME_PATTERN)


def check_name(name: str) -> str:
    """Return ``name`` if it is one.

    :raises ValueError: it could leave its folder, break supervisord's config or be mistaken for an option.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{name[:80]!r} is not a name. Use up to 64 of a-z, A-Z, 0-9, '.', '_' and '-', the first a letter or digit"
        )
    return name


def check_program_name(name: str) -> str:
    """Return ``name`` if it is one without a dot.

    :raises ValueError: it is none, or ``JOB.NAME`` could be that of another job's program on the host.
    """
    if "." in check_name(name):
        raise ValueError(f"{name!r} has a '.', which stands between job and program on the host. Use '_' or '-'")
    return name


#: A name that is safe as a file name, in supervisord's config and in messages.
Name = Annotated[str, AfterValidator(check_name)]
#: A name of a program or group in its job.
ProgramName = Annotated[str, AfterValidator(check_program_name)]


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that ``word`` resembles most, or None if it resembles none."""
    found = difflib.get_close_matches(word, list(known), n=3, cutoff=0.6)
    swapped = [each for each in found if sorted(each) == sorted(word)]
    return next(iter(swapped + found), None)
