"""What a job is: frozen models, the loader, and the writer of what a host is told."""

from __future__ import annotations

from airflow_supervisor_jobs.config.airflow import AirflowOptions, Cleanup, IfRunning, OnExpire, ReferenceDate, Watch
from airflow_supervisor_jobs.config.daemon import (
    Include,
    InetHttpServer,
    RpcInterface,
    Supervisorctl,
    Supervisord,
    UnixHttpServer,
)
from airflow_supervisor_jobs.config.dag import DagOptions
from airflow_supervisor_jobs.config.environment import Secret
from airflow_supervisor_jobs.config.host import DEFAULT_ROOT, Host
from airflow_supervisor_jobs.config.job import Job, Kind, Process
from airflow_supervisor_jobs.config.library import Library, find_config_dir
from airflow_supervisor_jobs.config.loader import (
    check_file,
    job_names,
    load_file,
    load_host,
    load_job,
    load_jobs,
    make_job,
    open_library,
)
from airflow_supervisor_jobs.config.program import IfSupervisordDies, Program, Restart
from airflow_supervisor_jobs.config.schema import json_schema
from airflow_supervisor_jobs.config.sections import EventListener, FcgiProgram, Group
from airflow_supervisor_jobs.config.shell import shell_warnings
from airflow_supervisor_jobs.config.spec import render_spec
from airflow_supervisor_jobs.config.templates import render_templates

__all__ = [
    "DEFAULT_ROOT",
    "AirflowOptions",
    "Cleanup",
    "DagOptions",
    "EventListener",
    "FcgiProgram",
    "Group",
    "Host",
    "IfRunning",
    "IfSupervisordDies",
    "Include",
    "InetHttpServer",
    "Job",
    "Kind",
    "Library",
    "OnExpire",
    "Process",
    "Program",
    "ReferenceDate",
    "Restart",
    "RpcInterface",
    "Secret",
    "Supervisorctl",
    "Supervisord",
    "UnixHttpServer",
    "Watch",
    "check_file",
    "find_config_dir",
    "job_names",
    "json_schema",
    "load_file",
    "load_host",
    "load_job",
    "load_jobs",
    "make_job",
    "open_library",
    "render_spec",
    "render_templates",
    "shell_warnings",
]
