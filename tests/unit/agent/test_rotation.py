"""A reader that looks while the writer rotates sees every byte once, or is told what is gone."""

from __future__ import annotations

import base64
import threading
from pathlib import Path

import pytest

from airflow_supervisor_jobs.agent.logs import StreamReader
from airflow_supervisor_jobs.agent.runner import Log

LINES = [b"line %d\n" % number for number in range(20_000)]


@pytest.mark.parametrize("backups", [1000, 3])
def test_reading_while_rotating(tmp_path: Path, backups: int) -> None:
    path, index = str(tmp_path / "log"), str(tmp_path / "index")
    log = Log({"path": path, "maxbytes": 500, "backups": backups}, index, 1, 0)
    total = sum(map(len, LINES))

    def write() -> None:
        for line in LINES:
            log.write(line)

    writer = threading.Thread(target=write)
    writer.start()
    reader = StreamReader(path, index)
    found, position, lost = b"", 0, 0
    while position < total:
        chunks, position, _ = reader.read(position, 300)
        for chunk in chunks:
            lost += chunk["lost"]
            assert chunk["position"] == len(found) + lost
            found += base64.b64decode(chunk["data"])
    writer.join()
    everything = b"".join(LINES)
    if backups == 1000:
        assert lost == 0
        is_the_same = found == everything  # which pytest would take minutes to explain
        assert is_the_same
    else:
        assert everything.endswith(found[-400:])
        assert len(found) + lost == total
