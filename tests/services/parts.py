"""Programs that tell of which parts they are made: the witnesses of a configuration that is half old, half new."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.services.host import wait_for


class Versions:
    """Two programs of which every start says which version of each part it is made of."""

    def __init__(self, folder: Path) -> None:
        self.said = {name: folder / f"{name}.said" for name in "pq"}
        self.starts = 0

    def programs(self, version: str) -> dict[str, Any]:
        def program(said: Path) -> dict[str, Any]:
            script = f'echo "$0 $VERSION" >> {said}; exec sleep 600'
            return {"command": ["sh", "-c", script, version], "environment": {"VERSION": version}, "stopwaitsecs": 1}

        return {name: program(said) for name, said in self.said.items()}

    async def newest(self) -> set[str]:
        """Return what the programs said at the start that was just ordered."""
        self.starts += 1
        lines = await wait_for(self._all_lines, "a line from each program's start")
        return {word for line in lines for word in line.split()}

    def _all_lines(self) -> list[str]:
        lines = [path.read_text().splitlines() if path.exists() else [] for path in self.said.values()]
        return [each[-1] for each in lines] if all(len(each) == self.starts for each in lines) else []
