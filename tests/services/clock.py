"""A host whose wall clock can be set while its processes run: all that our side of it knows of the hour is Python's."""

from __future__ import annotations

import sys
from pathlib import Path

SET = "import time; _true = time.time; time.time = lambda: _true() + float(open({offset!r}).read())"


class SteppedClock:
    """A clock that is right until it is set; agent, supervisord and runners live by it.

    :param folder: a folder of its own.
    :ivar python: what the host's ``python`` is to be.
    :ivar supervisord: what its supervisord is to be.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._offset = folder / "offset"
        self.step(0)
        self._set = SET.format(offset=str(self._offset))
        daemon = "from supervisor.supervisord import main; main()"
        control = "from supervisor.supervisorctl import main; main()"
        self.supervisord = self._script(folder / "supervisord", f"#!{sys.executable}\n{self._set}\n{daemon}\n")
        self._script(folder / "supervisorctl", f"#!{sys.executable}\n{control}\n")
        # The agent is Python with -I, -S, -c and its first words.
        words = f'#!/bin/sh\nexec {sys.executable} "$1" "$2" "$3" "exec(open(\'{folder}/set\').read()); $4"\n'
        self.python = self._script(folder / "python", words)
        (folder / "set").write_text(self._set)

    def step(self, seconds: float) -> None:
        """Set the clock that far from the truth."""
        part = self._offset.with_suffix(".part")
        part.write_text(str(seconds))
        part.rename(self._offset)

    def govern(self, root: Path) -> None:
        """Have the runners that start from now on in a root live by this clock, too."""
        runner = root / "bin/runner"
        first, rest = runner.read_text().split("\n", 1)
        runner.write_text(f"{first}\n{self._set}\n{rest}")

    def _script(self, path: Path, text: str) -> str:
        path.write_text(text)
        path.chmod(0o700)
        return str(path)
