"""The texts under the options of the models, which the schema for editors and the page of all options show.

They are read from the source when somebody asks: pydantic would read them at import, in every task, and take longer
for it than for all else.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Any


@lru_cache(maxsize=100)
def option_texts(model: type[Any]) -> dict[str, str]:
    """Return the text under each option of a model, those of its bases too."""
    package = __name__.partition(".")[0]
    own = [base for base in reversed(model.__mro__) if base.__module__.partition(".")[0] == package]
    return {name: text for base in own for name, text in _texts(base)}


def _texts(model: type[Any]) -> Iterator[tuple[str, str]]:
    for statement, after in pairwise(ast.parse(inspect.getsource(model)).body[0].body):  # type: ignore[attr-defined]
        text = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else None
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and isinstance(text, str):
            yield statement.target.id, inspect.cleandoc(text)
