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


def test_an_index_is_searched_as_if_it_were_read_whole(tmp_path: Path) -> None:
    path, index = tmp_path / "log", tmp_path / "index"
    path.write_bytes(b"".join(b"%09d\n" % number for number in range(5000)))
    notes = [(10 * number, 1000.0 + number, 1 + number // 1000) for number in range(0, 5000, 3)]
    words = [f"{position} {time:.3f} {generation}\n" for position, time, generation in notes]
    words[700:700] = ["12", "nonsense\n"]  # cut by a full disk, and the one after it lost with it
    index.write_text(f"0 {path.stat().st_ino}\n" + "".join(words))
    reader = StreamReader(str(path), str(index))
    for position in (0, 1, 29, 30, 20_995, 25_000, 49_980, 49_999):
        (first, *_), reached, end = reader.read(position, 25)
        note = [note for note in notes if note[0] <= position][-1]
        assert (first["position"], first["time"], first["generation"]) == (position, *note[1:])
        assert (reached, end) == (min(position + 25, 50_000), 50_000)
    for generation in range(1, 6):
        starts = [position for position, _, one in notes if one == generation]
        later = [position for position, _, one in notes if one > generation]
        assert reader.position_of_generation(generation) == (starts[0], later[0] if later else None)
        assert reader.position_since_generation(generation) == starts[0]
    assert reader.position_of_generation(6) == (50_000, None)
    assert reader.position_since_generation(6) == 50_000
