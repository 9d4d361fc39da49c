"""Where jobs are found, what a broken file does to the others, and what loading costs."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from airflow_supervisor_jobs.config import (
    Host,
    Program,
    check_file,
    find_config_dir,
    job_names,
    load_file,
    load_host,
    load_job,
    load_jobs,
    make_job,
)
from airflow_supervisor_jobs.exceptions import ConfigError, JobNotFound


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    write(tmp_path / "configs/job/one.yaml", "command: one\n")
    write(tmp_path / "configs/job/two.yaml", "command: two\nhost: far\n")
    write(tmp_path / "configs/host/far.yaml", "hostname: far\n")
    return tmp_path / "configs"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_the_folder_is_found_upward_from_the_file_that_asks(configs: Path) -> None:
    script = configs.parent / "dags" / "team" / "mine.py"
    write(
        script,
        textwrap.dedent("""
            from airflow_supervisor_jobs.config import load_job, load_jobs, make_job
            print(load_job("two").host.hostname, *load_jobs(), load_job("one", config_dir="../../configs").name,
                  make_job({"command": "x", "host": "far"}, name="three").host.hostname)
        """),
    )
    found = subprocess.run([sys.executable, script], cwd="/", check=True, capture_output=True, text=True)
    assert found.stdout == "far one two one far\n"


def test_the_folder_is_found_from_a_start(configs: Path) -> None:
    assert find_config_dir(configs / "job" / "one.yaml") == configs
    assert find_config_dir(configs.parent) == configs


def test_no_folder_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Make one with job/NAME\.yaml, or give config_dir"):
        find_config_dir(tmp_path)
    with pytest.raises(ConfigError, match="there is no folder nowhere"):
        load_job("one", config_dir="nowhere")


def test_a_job_that_is_not_there_has_a_nearest_one(configs: Path) -> None:
    with pytest.raises(JobNotFound, match="Did you mean 'one'"):
        load_job("onne", config_dir=configs)
    with pytest.raises(JobNotFound, match="There are: one, two"):
        load_job("zzz", config_dir=configs)
    assert job_names(configs) == ["one", "two"]


@pytest.mark.parametrize(
    "text",
    [
        "command: [",
        "command: x\nunknown: y\n",
        "command: x\nhost: nowhere\n",
        "command: ${nothing}\n",
        "command: x\nruntime: -1\n",
        "- a list\n",
        "",
        "command: x\nhost: broken\n",
        "command: x\ndefaults: [policy: nowhere]\n",
        "command: x\nname: other\n",
        "\x00",
        "command: !!python/object:os.system {}\n",
    ],
)
def test_a_broken_file_hides_no_other(configs: Path, text: str) -> None:
    write(configs / "job/bad.yaml", text)
    write(configs / "host/broken.yaml", "hostname: [\n")
    errors: list[ConfigError] = []
    jobs = load_jobs(configs, errors=errors)
    assert list(jobs) == ["one", "two"]
    assert [error.job for error in errors] == ["bad"]
    assert "bad.yaml" in str(errors[0]) or "broken.yaml" in str(errors[0])
    with pytest.raises(ConfigError, match="bad"):
        load_jobs(configs)


def test_a_file_with_a_wrong_name_is_an_error_of_its_own(configs: Path) -> None:
    write(configs / "job/-bad name.yaml", "command: x\n")
    errors: list[ConfigError] = []
    assert list(load_jobs(configs, errors=errors)) == ["one", "two"]
    assert "the file's name is the job's" in str(errors[0])


def test_a_file_with_the_other_suffix_is_an_error_of_its_own(configs: Path) -> None:
    write(configs / "job/three.yml", "command: x\n")
    errors: list[ConfigError] = []
    assert list(load_jobs(configs, errors=errors)) == ["one", "two"]
    assert [error.job for error in errors] == ["three"]
    assert job_names(configs) == ["one", "three.yml", "two"]
    for look in (
        lambda: load_job("three", config_dir=configs),
        lambda: load_job("three.yml", config_dir=configs),
        lambda: check_file(configs / "job/three.yml"),
    ):
        with pytest.raises(ConfigError, match=r"job/three\.yml: call it three\.yaml"):
            look()


def test_bytes_that_are_not_utf_8_are_an_error(configs: Path) -> None:
    (configs / "job/one.yaml").write_bytes(b"command: \xff\n")
    with pytest.raises(ConfigError, match=r"one\.yaml: cannot be read"):
        load_job("one", config_dir=configs)


def test_many_threads_may_load_at_once(configs: Path) -> None:
    found: list[str] = []

    def load(number: int) -> None:
        job = load_job("two", [f"command='c{number}'"], configs)
        found.append(str(job.programs["two"].command))

    threads = [threading.Thread(target=load, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [f"c{number}" for number in range(8)]


def test_a_hydra_application_around_us_is_left_as_it_is(configs: Path, tmp_path: Path) -> None:
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.version import getbase

    write(tmp_path / "theirs/app.yaml", "value: 1\n")
    with initialize_config_dir(str(tmp_path / "theirs"), version_base="1.2"):
        base = getbase()
        load_job("two", ["runtime=5"], configs)
        assert getbase() == base
        assert compose("app", ["value=2"]) == {"value": 2}
    assert not GlobalHydra.instance().is_initialized()


def test_a_file_needs_no_folder(tmp_path: Path) -> None:
    write(tmp_path / "alone.yaml", "command: x\ndefaults: [policy: batch]\n")
    job = load_file(tmp_path / "alone.yaml")
    assert (job.name, job.host.is_local, job.airflow.retries) == ("alone", True, 2)


def test_a_file_finds_the_folder_it_is_in(configs: Path) -> None:
    assert load_file(configs / "job" / "two.yaml").host.hostname == "far"


def test_hosts_and_policies_are_checked_by_themselves(configs: Path) -> None:
    write(configs / "policy/slow.yaml", "runtime: 2h\nstopwaitsecs: 5\n")
    assert check_file(configs / "policy/slow.yaml") is None
    assert check_file(configs / "host/far.yaml") == load_host("far", config_dir=configs)
    assert check_file(configs / "job/one.yaml") == load_job("one", config_dir=configs)
    write(configs / "policy/slow.yaml", "runtime: 2h\nstopwaitsecs: -5\n")
    with pytest.raises(ConfigError, match=r"slow\.yaml:2:15: programs\.any\.stopwaitsecs"):
        check_file(configs / "policy/slow.yaml")
    write(configs / "host/far.yaml", "port: 5\n")
    with pytest.raises(ConfigError, match=r"far\.yaml:1:7: host\.port: is for SSH"):
        check_file(configs / "host/far.yaml")


def test_a_file_that_is_gone_hurts_only_who_draws_from_it(configs: Path) -> None:
    (configs / "host/gone.yaml").symlink_to("nowhere")
    assert list(load_jobs(configs)) == ["one", "two"]
    with pytest.raises(ConfigError, match=r"gone\.yaml: cannot be read"):
        load_job("one", ["host=gone"], configs)


@pytest.mark.parametrize("host", ["far", "null", "[far]", "${oc.env:HOME}"])
def test_a_policy_chooses_no_host(configs: Path, host: str) -> None:
    write(configs / "policy/slow.yaml", f"runtime: 2h\nhost: {host}\n")
    with pytest.raises(ConfigError, match=r"slow\.yaml:2:7: a policy chooses no host\. Write host: NAME in the job"):
        load_job("one", ["policy=slow"], configs)
    write(configs / "policy/slow.yaml", "host: {port: 2222}\n")
    assert load_job("two", ["policy=slow"], configs).host.port == 2222


def test_a_host_is_a_name_or_a_mapping(configs: Path) -> None:
    write(configs / "extra/mine.yaml", "host: far\n")
    write(configs / "job/one.yaml", "defaults: [extra@_global_: mine]\ncommand: x\n")
    with pytest.raises(ConfigError, match="one: host: is neither a name in the job's file nor a mapping"):
        load_job("one", config_dir=configs)


def test_hosts(configs: Path) -> None:
    assert load_host("far", config_dir=configs) == Host(name="far", hostname="far")
    assert load_host("far", ["port=2222"], configs).port == 2222
    assert load_host("local", config_dir=configs) == Host()
    with pytest.raises(ConfigError, match="There are: far, local"):
        load_host("zzz", config_dir=configs)
    write(configs / "host/far.yaml", "hostname: far\nport: 0\n")
    with pytest.raises(ConfigError, match=r"far.yaml:2:7: host.port: must be 1 or more"):
        load_host("far", config_dir=configs)


def test_a_host_may_stand_in_the_job(configs: Path) -> None:
    write(configs / "job/one.yaml", "command: one\nhost: {hostname: 10.0.0.1, username: ada}\n")
    assert load_job("one", config_dir=configs).host == Host(name="10.0.0.1", hostname="10.0.0.1", username="ada")
    assert load_job("one", ["host=far"], configs).host == Host(name="far", hostname="far")


def test_python_data_makes_the_same_job() -> None:
    job = make_job(
        {"command": ("a", "b c"), "umask": 0o22, "start_date": "2026-01-01", "host": Host(hostname="h")}, name="j"
    )
    assert job.programs["j"] == Program(command=("a", "b c"), umask=0o22)
    assert job.host.hostname == "h"
    assert make_job(job.model_dump(), name="j") == job


@pytest.mark.parametrize("policy", ["batch", "always_on", "half_day"])
def test_the_packages_policies_fit_any_job(configs: Path, policy: str) -> None:
    assert load_job("one", [f"policy={policy}"], configs) != load_job("one", config_dir=configs)


def test_importing_the_config_imports_neither_hydra_nor_airflow_nor_ssh() -> None:
    code = (
        "import sys, airflow_supervisor_jobs.config; "
        "print([name for name in ('hydra', 'airflow', 'paramiko', 'asyncssh', 'croniter') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout == "[]\n"
