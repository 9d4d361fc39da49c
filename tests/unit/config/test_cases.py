"""Jobs in, what a host is told out, or the error: each case is a file in ``tests/cases/render``.

A case has ``about``, the ``job`` as text, and some of: ``files`` of the folder, ``environ``, ``overrides``; then
``spec`` and ``declares`` (parts of the spec and of the job), ``conf`` (all of it), ``conf_has`` (lines in a row),
or the whole ``error``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_supervisor_jobs.config import Job, load_job, render_spec
from airflow_supervisor_jobs.config.spec import hash_of
from airflow_supervisor_jobs.exceptions import ConfigError

CASES = sorted((Path(__file__).parents[2] / "cases" / "render").glob("*.yaml"))
KNOWN = {"about", "job", "files", "environ", "overrides", "spec", "declares", "conf", "conf_has", "error"}


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_case(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = yaml.safe_load(path.read_text())
    assert case.keys() <= KNOWN
    monkeypatch.chdir(tmp_path)
    for name, value in case.get("environ", {}).items():
        monkeypatch.setenv(name, value)
    lay_out(tmp_path, {f"job/{path.stem}.yaml": case["job"], **case.get("files", {})})
    if "error" in case:
        with pytest.raises(ConfigError) as caught:
            render_spec(load_job(path.stem, case.get("overrides", ()), tmp_path / "configs"))
        assert str(caught.value) == case["error"]
        return
    job = load_job(path.stem, case.get("overrides", ()), tmp_path / "configs")
    spec = render_spec(job)
    assert cut_like(case.get("spec", {}), spec) == case.get("spec", {})
    dumped = job.model_dump(mode="json", exclude_unset=True)
    assert cut_like(case.get("declares", {}), dumped) == case.get("declares", {})
    if "conf" in case:
        assert spec["conf"] == case["conf"]
    assert case.get("conf_has", "") in spec["conf"]
    assert spec["hash"] == hash_of(spec)
    assert Job.model_validate(job.model_dump(mode="json")) == job


def test_there_are_cases() -> None:
    assert len(CASES) > 30


def lay_out(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / "configs" / name if re.match(r"(job|host|policy)/", name) else folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def cut_like(wanted: Any, found: Any) -> Any:
    """Return of ``found`` what ``wanted`` says something about."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return {key: cut_like(item, found[key]) for key, item in wanted.items() if key in found}
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        return [cut_like(one, other) for one, other in zip(wanted, found, strict=True)]
    return found
