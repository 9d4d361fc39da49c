"""What one process composes, the next one has; and never anything else than it would have composed."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from airflow_supervisor_jobs.config import Job, cache, load_file, load_job, load_jobs, open_library
from airflow_supervisor_jobs.exceptions import ConfigError

SECRET = "correct horse battery staple"

#: Prints the job's command and whether Hydra, or OmegaConf, was needed for it.
LOAD = """
import sys
from airflow_supervisor_jobs.config import load_job
job = load_job("feed", sys.argv[2:], sys.argv[1])
print(*job.programs["feed"].argv, job.host.hostname, job.airflow.retries)
print([name for name in ("hydra", "omegaconf") if name in sys.modules])
"""


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    write(tmp_path / "configs/job/feed.yaml", "defaults: [policy: mine]\nhost: far\ncommand: feed\n")
    write(tmp_path / "configs/host/far.yaml", "hostname: far\n")
    write(tmp_path / "configs/policy/mine.yaml", "retries: 2\n")
    return tmp_path / "configs"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(cache.FOLDER_VARIABLE, str(tmp_path / "kept"))
    return tmp_path / "kept/airflow-supervisor-jobs"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def in_a_process(configs: Path, *overrides: str, **environ: str) -> list[str]:
    command = [sys.executable, "-c", LOAD, str(configs), *overrides]
    env = {**os.environ, **environ}
    return subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout.splitlines()


def loaded(configs: Path) -> Job:
    """Return the job, which is the same as without anything kept."""
    job = load_job("feed", config_dir=configs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(cache.FOLDER_VARIABLE, "")
        assert load_job("feed", config_dir=configs) == job
    return job


def test_what_did_not_change_is_not_composed_again(configs: Path, folder: Path) -> None:
    assert in_a_process(configs) == ["feed far 2", "['hydra', 'omegaconf']"]
    assert in_a_process(configs) == ["feed far 2", "[]"]


def test_what_has_changed_is_composed_again(configs: Path, folder: Path) -> None:
    assert loaded(configs).airflow.retries == 2
    write(configs / "policy/mine.yaml", "retries: 3\n")
    assert loaded(configs).airflow.retries == 3
    write(configs / "host/far.yaml", "hostname: farther\n")
    assert loaded(configs).host.hostname == "farther"
    write(configs / "job/feed.yaml", "command: other\n")
    assert loaded(configs).programs["feed"].command == "other"
    write(configs / "job/feed.yaml", "defaults: [policy: mine]\nhost: far\ncommand: feed\n")
    assert loaded(configs).host.hostname == "farther"


def test_a_file_that_hides_the_packages_own_counts(configs: Path, folder: Path) -> None:
    write(configs / "job/feed.yaml", "defaults: [policy: batch]\ncommand: feed\n")
    assert loaded(configs).airflow.retries == 2
    write(configs / "policy/batch.yaml", "retries: 7\n")
    assert loaded(configs).airflow.retries == 7


def test_a_file_that_was_not_there_counts(configs: Path, folder: Path) -> None:
    write(configs / "job/feed.yaml", "defaults: [optional policy: later]\ncommand: feed\n")
    assert loaded(configs).airflow.retries == 0
    write(configs / "policy/later.yaml", "retries: 7\n")
    assert loaded(configs).airflow.retries == 7
    (configs / "policy/later.yaml").unlink()
    assert loaded(configs).airflow.retries == 0


def test_what_the_environment_says_counts_and_is_not_written_down(configs: Path, folder: Path) -> None:
    write(configs / "job/feed.yaml", "host: far\ncommand: feed ${oc.env:WHAT}\n")
    assert in_a_process(configs, WHAT=SECRET)[0] == f"feed {SECRET} far 0"
    assert in_a_process(configs, WHAT="x") == ["feed x far 0", "['omegaconf']"]
    assert SECRET not in "".join(path.read_text() for path in folder.iterdir())


def test_a_defaults_list_may_ask_the_environment(configs: Path, folder: Path) -> None:
    write(configs / "policy/other.yaml", "retries: 5\n")
    write(configs / "job/feed.yaml", "defaults:\n  - policy: ${oc.env:WHICH}\nhost: far\ncommand: feed\n")
    assert in_a_process(configs, WHICH="mine")[0] == "feed far 2"
    assert in_a_process(configs, WHICH="other")[0] == "feed far 5"


def test_overrides_are_not_written_down(configs: Path, folder: Path) -> None:
    assert in_a_process(configs, f"command={SECRET!r}")[0] == f"{SECRET} far 2"
    assert not folder.exists()
    assert in_a_process(configs)[0] == "feed far 2"
    assert in_a_process(configs, "retries=4")[0] == "feed far 4"


def test_jobs_of_the_same_text_are_not_mistaken_for_each_other(configs: Path, folder: Path) -> None:
    write(configs / "job/other.yaml", (configs / "job/feed.yaml").read_text())
    for _ in range(2):
        jobs = load_jobs(configs)
        assert {name: list(job.programs) for name, job in jobs.items()} == {"feed": ["feed"], "other": ["other"]}
        assert [job.source for job in jobs.values()] == [configs / "job/feed.yaml", configs / "job/other.yaml"]


def test_an_error_keeps_its_place(configs: Path, folder: Path) -> None:
    write(configs / "job/feed.yaml", "command: feed\nruntime: ${oc.env:HOW_LONG}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOW_LONG", "2h")
        assert load_job("feed", config_dir=configs).airflow.runtime == 7200
        patch.setenv("HOW_LONG", "long")
        with pytest.raises(ConfigError, match=r"feed\.yaml:2:10: airflow\.runtime: 'long' is not a duration"):
            load_job("feed", config_dir=configs)
        patch.delenv("HOW_LONG")
        with pytest.raises(ConfigError, match=r"feed\.yaml:2:10: airflow\.runtime: .*'HOW_LONG' not found"):
            load_job("feed", config_dir=configs)
    (configs / "policy/mine.yaml").unlink()
    write(configs / "job/feed.yaml", "defaults: [policy: mine]\ncommand: feed\n")
    with pytest.raises(ConfigError, match=r"feed\.yaml:1:12: there is no file policy/mine\.yaml"):
        load_job("feed", config_dir=configs)


@pytest.mark.parametrize("damage", [b"", b"{}", b"\x00\xff", b"0" * 64 + b"\n{}", b"cut"])
def test_a_damaged_entry_is_made_again(configs: Path, folder: Path, damage: bytes) -> None:
    job = load_job("feed", config_dir=configs)
    [entry] = folder.iterdir()
    whole = entry.read_bytes()
    entry.write_bytes(damage if damage != b"cut" else whole[:-3])
    assert load_job("feed", config_dir=configs) == job
    assert entry.read_bytes() == whole


def test_it_is_for_the_user_alone(configs: Path, folder: Path) -> None:
    load_job("feed", config_dir=configs)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [path.stat().st_mode & 0o777 for path in folder.iterdir()] == [0o600]


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o755])
def test_a_folder_that_others_can_enter_is_not_used(configs: Path, folder: Path, mode: int) -> None:
    load_job("feed", config_dir=configs)
    [entry] = folder.iterdir()
    body = entry.read_bytes().partition(b"\n")[2].replace(b'"feed"', b'"evil"')
    entry.write_bytes(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
    folder.chmod(mode)
    assert loaded(configs).programs["feed"].command == "feed"
    assert b"evil" in entry.read_bytes()


def test_a_link_is_not_followed(configs: Path, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    folder.parent.mkdir()
    folder.symlink_to(tmp_path / "elsewhere")
    load_job("feed", config_dir=configs)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_where_it_cannot_be_written_it_is_elsewhere(
    configs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(cache.FOLDER_VARIABLE)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "no_folder").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "no_folder"))
    load_job("feed", config_dir=configs)
    assert len(list((tmp_path / f"airflow-supervisor-jobs-{os.geteuid()}").iterdir())) == 1
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    write(configs / "job/feed.yaml", "command: other\n")
    load_job("feed", config_dir=configs)
    assert len(list((tmp_path / "home/airflow-supervisor-jobs").iterdir())) == 1


def test_nothing_is_kept_where_that_is_wanted(configs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.FOLDER_VARIABLE, "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    load_job("feed", config_dir=configs)
    assert [path.name for path in tmp_path.iterdir()] == ["configs"]


def test_no_place_at_all_is_no_error(configs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cache.FOLDER_VARIABLE)
    for name in ("HOME", "XDG_CACHE_HOME", "TMPDIR"):
        monkeypatch.setenv(name, "/dev/null/nowhere")
    monkeypatch.setattr("tempfile.tempdir", "/dev/null/nowhere")
    assert load_job("feed", config_dir=configs) == load_job("feed", config_dir=configs)


def test_a_folder_that_cannot_be_written_is_read(configs: Path, folder: Path) -> None:
    load_job("feed", config_dir=configs)
    [entry] = folder.iterdir()
    os.utime(entry, (0, 0))
    folder.chmod(0o500)
    entry.chmod(0o400)
    assert in_a_process(configs) == ["feed far 2", "[]"]


def test_other_files_of_the_folder_that_was_given_stay(configs: Path, folder: Path) -> None:
    folder.parent.mkdir(mode=0o700)
    (folder.parent / "mine").touch()
    os.utime(folder.parent / "mine", (0, 0))
    load_job("feed", config_dir=configs)
    assert {path.name for path in folder.parent.iterdir()} == {"mine", folder.name}


def test_what_nobody_uses_goes_and_the_rest_is_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MOST_ENTRIES", 3)
    for number in range(5):
        cache.keep(f"{number}", number)
        os.utime(folder / f"{number}", (0, 4e9 + number))
    cache.keep("old", "old")
    os.utime(folder / "old", (0, 0))
    cache._prune.cache_clear()
    cache.keep("new", "new")
    assert sorted(path.name for path in folder.iterdir()) == ["2", "3", "4", "new"]


def test_what_is_used_stays(folder: Path) -> None:
    cache.keep("key", [1])
    os.utime(folder / "key", (0, 0))
    assert cache.recall("key") == [1]
    assert (folder / "key").stat().st_mtime > 0


def test_only_what_json_leaves_as_it_is_is_kept(folder: Path) -> None:
    for number, document in enumerate((b"bytes", {1: "a key that is no text"}, float("nan"), {"a": (1, 2)}, {1, 2})):
        cache.keep(str(number), document)
        assert cache.recall(str(number)) is None
    document = {"text": 'é \udcff \0 "', "number": 1e300, "none": None, "list": [True, {}]}
    cache.keep("key", document)
    assert json.dumps(cache.recall("key")) == json.dumps(document)


def test_many_may_read_and_write_at_once(configs: Path, folder: Path) -> None:
    found: list[Job] = []

    def load() -> None:
        found.extend(load_job("feed", config_dir=configs) for _ in range(20))

    threads = [threading.Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 160
    assert all(job == found[0] for job in found)
    assert len(list(folder.iterdir())) == 1


def test_an_open_library_reads_its_files_once(configs: Path, folder: Path) -> None:
    library = open_library(configs)
    first = load_job("feed", config_dir=library)
    write(configs / "host/far.yaml", "hostname: farther\n")
    assert load_job("feed", config_dir=library) == first
    assert load_job("feed", config_dir=configs).host.hostname == "farther"


def test_a_file_anywhere_is_kept_too(tmp_path: Path, folder: Path) -> None:
    write(tmp_path / "alone.yaml", "command: x\ndefaults: [policy: batch]\n")
    assert load_file(tmp_path / "alone.yaml") == load_file(tmp_path / "alone.yaml")
    assert len(list(folder.iterdir())) == 1
