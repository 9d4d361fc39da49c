"""The shape of a job's DAG."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest
from airflow.sdk import DAG, Param, task
from airflow.sdk.definitions.param import ParamsDict, process_params
from airflow.sdk.exceptions import ParamValidationError

from airflow_supervisor_jobs.config import AirflowOptions, Job, Program, Watch
from airflow_supervisor_jobs.dags.supervisor_dag import SupervisorDAG
from airflow_supervisor_jobs.exceptions import ConfigError
from airflow_supervisor_jobs.sensors.programs import SPARE_TRIES

STEPS = [
    "configure_supervisord",
    "start_supervisord",
    "start_programs",
    "watch_programs",
    "restart_programs",
    "stop_programs",
    "stop_supervisord",
    "remove_configuration",
]


def job(**changes: object) -> Job:
    return Job(name="feed", programs={"feed": Program(command="sleep 1")}, **changes)


def test_every_step_is_an_attribute() -> None:
    dag = SupervisorDAG(job=job())
    assert isinstance(dag, DAG)
    assert [getattr(dag, step).task_id for step in STEPS] == STEPS
    assert dag.task_ids == STEPS


def test_setups_and_teardowns() -> None:
    dag = SupervisorDAG(job=job())
    assert [task.task_id for task in dag.tasks if task.is_setup] == STEPS[:3]
    assert [task.task_id for task in dag.tasks if task.is_teardown] == STEPS[4:]
    setups = {step: {up for up in getattr(dag, step).upstream_task_ids if getattr(dag, up).is_setup} for step in STEPS}
    assert setups["restart_programs"] == {"start_programs"}
    # A setup that fails may have had its effect: a teardown goes by the ones before it, too.
    assert setups["stop_programs"] == {*STEPS[:3]}
    assert setups["stop_supervisord"] == {*STEPS[:2]}
    assert setups["remove_configuration"] == {*STEPS[:1]}
    dag.validate()


def test_the_steps_follow_each_other() -> None:
    dag = SupervisorDAG(job=job())
    for before, after in pairwise(STEPS):
        assert after in getattr(dag, before).downstream_task_ids


def test_the_dag_takes_its_id_and_options_from_the_job_and_from_the_call() -> None:
    declared = job(dag={"dag_id": "from_yaml", "max_active_runs": 3, "description": "a feed"})
    assert SupervisorDAG(job=job()).dag_id == "feed"
    assert SupervisorDAG(job=job()).max_active_runs == 1
    assert SupervisorDAG(job=declared).dag_id == "from_yaml"
    dag = SupervisorDAG("mine", job=declared, description="mine")
    assert (dag.dag_id, dag.max_active_runs, dag.description) == ("mine", 3, "mine")


def test_all_tasks_run_where_the_job_says() -> None:
    options = AirflowOptions(pool="site", queue="site-a", executor="EdgeExecutor", priority_weight=7)
    for step in SupervisorDAG(job=job(airflow=options)).tasks:
        assert (step.pool, step.queue, step.executor, step.priority_weight) == ("site", "site-a", "EdgeExecutor", 7)


def test_the_options_of_the_watch() -> None:
    options = AirflowOptions(watch=Watch.RESCHEDULE, check_interval=30, retries=2, retry_delay=60)
    watch = SupervisorDAG(job=job(airflow=options)).watch_programs
    assert (watch.deferrable, watch.mode, watch.poke_interval) == (False, "reschedule", 30)
    assert (watch.restarts, watch.retries, watch.retry_delay) == (2, 2 + SPARE_TRIES, timedelta(seconds=60))
    assert SupervisorDAG(job=job()).watch_programs.deferrable


def test_default_args_count_unless_the_job_says_otherwise() -> None:
    dag = SupervisorDAG(job=job(airflow=AirflowOptions(retries=1)), default_args={"retries": 9, "pool": "mine"})
    assert (dag.start_programs.retries, dag.watch_programs.retries) == (9, 1 + SPARE_TRIES)
    assert dag.watch_programs.pool == "mine"


def test_own_tasks_stand_between_the_steps() -> None:
    with SupervisorDAG(job=job()) as dag:

        @task
        def report() -> None: ...

        dag.watch_programs >> report() >> dag.restart_programs
    assert dag.get_task("report").upstream_task_ids == {"watch_programs"}
    assert "report" in dag.restart_programs.upstream_task_ids
    dag.validate()


def test_what_stands_behind_the_watch_cannot_hide_how_it_ended() -> None:
    with SupervisorDAG(job=job()) as dag:

        @task(trigger_rule="all_done")
        def report() -> None: ...

        dag.watch_programs >> report() >> dag.restart_programs
    for _ in range(2):
        dag.validate()
        verdict = dag.get_task("watch_verdict")
        assert (verdict.upstream_task_ids, verdict.downstream_task_ids) == ({"watch_programs"}, set())
        assert verdict.trigger_rule == "all_success"


def test_nothing_is_added_where_nothing_stands_behind_the_watch() -> None:
    with SupervisorDAG(job=job()) as dag:

        @task
        def mine() -> None: ...

        dag.start_programs >> mine() >> dag.restart_programs
    dag.validate()
    assert {*dag.task_ids} == {*STEPS, "mine"}


def test_a_run_can_be_forced() -> None:
    dag = SupervisorDAG(job=job(dag={"params": {"mine": 1, "force-run": True}}))
    assert dict(dag.params) == {
        "force-run": True,
        "force-runtime": None,
        "force-endtime": None,
        "force-maxretrigger": None,
        "mine": 1,
    }
    dag.validate()


def test_params_keep_their_types() -> None:
    given = ParamsDict({"mine": Param(1, type="integer")})
    dag = SupervisorDAG(job=job(), params=given)
    for name in ("mine", "force-run", "force-maxretrigger"):
        with pytest.raises(ParamValidationError):
            dag.params[name] = "many"


def test_a_param_of_the_wrong_type_is_refused() -> None:
    with pytest.raises(ParamValidationError):
        SupervisorDAG(job=job(dag={"params": {"force-maxretrigger": "many"}}))
    assert SupervisorDAG(job=job(dag={"params": {"force-maxretrigger": 3}})).params["force-maxretrigger"] == 3
    own = Param("9:00", "When it ends.", type="string")
    assert SupervisorDAG(job=job(), params={"force-endtime": own}).params.get_param("force-endtime").description


def test_no_step_has_a_copy_of_the_params_that_every_dag_has() -> None:
    dag = SupervisorDAG(job=job(dag={"params": {"mine": 1}}))
    assert [list(step.params) for step in dag.tasks] == [["mine"]] * len(STEPS)


def test_every_step_finds_what_a_run_was_given() -> None:
    dag = SupervisorDAG(job=job(dag={"params": {"mine": 1}}))
    for step in dag.tasks:
        given = process_params(dag, step, {"force-runtime": "5m", "mine": 2}, suppress_exception=False)
        assert (given["force-runtime"], given["force-run"], given["mine"]) == ("5m", False, 2)
        with pytest.raises(ParamValidationError):
            process_params(dag, step, {"force-maxretrigger": "many"}, suppress_exception=False)


def test_two_dags_of_a_job_are_two() -> None:
    first, second = SupervisorDAG("a", job=job()), SupervisorDAG("b", job=job())
    assert len({first, second}) == 2
    assert repr(first) == "<DAG: a>"


def test_it_knows_its_file() -> None:
    assert SupervisorDAG(job=job()).fileloc == __file__


def test_a_mapping_is_a_job() -> None:
    dag = SupervisorDAG("feed", job={"command": "sleep 1", "check_timeout": "5m"})
    assert (dag.job.name, dag.job.airflow.check_timeout) == ("feed", 300)


def test_a_mapping_needs_a_name() -> None:
    with pytest.raises(ConfigError, match="name"):
        SupervisorDAG(job={"command": "sleep 1"})


def test_no_secret_or_command_is_serialised() -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    programs = {"feed": Program(command="sleep 12345", environment={"TOKEN": "top-secret"})}
    text = str(DagSerialization.to_dict(SupervisorDAG(job=Job(name="feed", programs=programs))))
    assert "start_programs" in text
    assert "top-secret" not in text
    assert "12345" not in text
