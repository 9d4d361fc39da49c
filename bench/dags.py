"""The DAGs of the benchmark of a run: of each system a job of some seconds, and a few that wait."""

from __future__ import annotations

import json
from pathlib import Path

from bench.peer import PATH, free_ports, packages
from tests.services.sshd import OpenSSH

OURS, THEIRS, OTHER = "airflow-supervisor-jobs", "SSHRemoteJobOperator", "airflow-supervisor"
JOB = """\
host: site
command: {command}
"""
OUR_DAGS = """\
from airflow_supervisor_jobs import build_dags

build_dags(globals())
"""
THEIR_DAG = """\
from airflow.providers.ssh.operators.ssh_remote_job import SSHRemoteJobOperator
from airflow.sdk import DAG

with DAG("theirs", schedule=None) as dag:
    SSHRemoteJobOperator(task_id="job", ssh_conn_id="site", command={command!r}, remote_base_dir={place!r})
"""
OTHER_DAG = """\
import sys

sys.path.append({packages!r})
from airflow.sdk import DAG
from airflow_supervisor import SupervisorSSH, SupervisorSSHAirflowConfiguration

for name, (command, port) in {jobs!r}.items():
    with DAG(name, schedule=None) as dag:
        configuration = SupervisorSSHAirflowConfiguration(
            host="127.0.0.1",
            port=f"127.0.0.1:{{port}}",
            working_dir=f"{place}/{{name}}-home",
            config_path=f"{place}/{{name}}-home/supervisor.cfg",
            program={{name: {{"command": command}}}},
            command_prefix="export PATH={path}:$PATH",
            ssh_operator_args={{"ssh_conn_id": "site"}},
        )
        SupervisorSSH(dag=dag, cfg=configuration)
    globals()[name] = dag
"""
#: By system: its DAG, and the task that waits for the program.
DAGS = {OURS: ("ours", "watch_programs"), THEIRS: ("theirs", "job"), OTHER: ("other", "other-check-programs")}
#: Jobs that wait side by side.
WAITING = 4
WAITING_COMMAND = "sleep 3600"


def write_dags(place: Path, server: OpenSSH, *, seconds: int) -> Path:
    """Return the folder of the DAG files: of each system a job of so many seconds, and some that wait."""
    dags = place / "dags"
    for group in ("job", "host"):
        (dags / "configs" / group).mkdir(parents=True)
    say = {name: f"date +%s.%N >> {place}/{dag}" for name, (dag, _) in DAGS.items()}
    words = {name: f"sh -c '{moment}; sleep {seconds}; {moment}'" for name, moment in say.items()}
    (dags / "configs/host/site.yaml").write_text(json.dumps({**server.host(), "root": str(place / "r")}))
    ours = {DAGS[OURS][0]: words[OURS]} | {waiting_dag(OURS, number): WAITING_COMMAND for number in range(WAITING)}
    for name, command in ours.items():
        (dags / f"configs/job/{name}.yaml").write_text(JOB.format(command=json.dumps(command)))
    (dags / "ours.py").write_text(OUR_DAGS)
    (dags / "theirs.py").write_text(THEIR_DAG.format(command=words[THEIRS], place=str(place / "jobs")))
    return dags


def write_other(dags: Path, place: Path, *, seconds: int) -> None:
    """The DAGs of airflow-supervisor are there, too.

    :raises NotInstalled: it is not.
    """
    # supervisord reads `%` as the beginning of a name.
    moment = f"date +%%s.%%N >> {place}/{DAGS[OTHER][0]}"
    commands = {DAGS[OTHER][0]: f"sh -c '{moment}; sleep {seconds}; {moment}'"}
    commands |= {waiting_dag(OTHER, number): WAITING_COMMAND for number in range(WAITING)}
    jobs = dict(zip(commands, zip(commands.values(), free_ports(len(commands)), strict=True), strict=True))
    (dags / "other.py").write_text(OTHER_DAG.format(packages=packages(), jobs=jobs, place=place, path=PATH))


def waiting_dag(system: str, number: int) -> str:
    """Return the id of a DAG whose job waits."""
    return f"{DAGS[system][0]}_waits_{number}"
