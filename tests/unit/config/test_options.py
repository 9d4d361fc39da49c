"""The models know every option that the installed supervisord reads, and the page of options is theirs."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from supervisor import options

from airflow_supervisor_jobs.config import (
    EventListener,
    FcgiProgram,
    Group,
    Host,
    Include,
    InetHttpServer,
    Program,
    RpcInterface,
    Supervisorctl,
    Supervisord,
    UnixHttpServer,
)
from airflow_supervisor_jobs.config.base import Owner
from airflow_supervisor_jobs.config.documentation import option_texts
from airflow_supervisor_jobs.config.reference import TABLES, options_table, owner_of
from airflow_supervisor_jobs.config.short_form import AIRFLOW_OPTIONS, DAG_OPTIONS, PROGRAM_OPTIONS, TOP

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "options.md"
OURS = {"shell", "essential", "restart", "if_supervisord_dies", "on_reboot", "watchdog", "heartbeat_file", "attach"}
CONF = """
[supervisord]
[supervisorctl]
[unix_http_server]
file=/tmp/x.sock
[inet_http_server]
port=9001
[include]
files=nothing
[group:g]
programs=grouped
[program:grouped]
command=x
[program:p]
command=x
[eventlistener:e]
command=x
events=TICK_5
[fcgi-program:f]
command=x
socket=tcp://localhost:1
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""


@pytest.fixture(scope="module")
def read_by_supervisord(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Return the options that supervisord and supervisorctl look for, by the kind of section."""
    asked: dict[str, set[str]] = defaultdict(set)

    class Recorder(options.UnhosedConfigParser):
        def get(self, section: str, option: str, *args: Any, **kwargs: Any) -> Any:
            asked[section.partition(":")[0]].add(option)
            return super().get(section, option, *args, **kwargs)

    path = tmp_path_factory.mktemp("conf") / "supervisord.conf"
    path.write_text(CONF)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(options, "UnhosedConfigParser", Recorder)
        for kind in (options.ServerOptions, options.ClientOptions):
            reader = kind()
            reader.configfile = str(path)
            reader.read_config(str(path))
    return asked


@pytest.mark.parametrize(
    ("section", "model"),
    [
        ("program", Program),
        ("group", Group),
        ("fcgi-program", FcgiProgram),
        ("eventlistener", EventListener),
        ("supervisord", Supervisord),
        ("unix_http_server", UnixHttpServer),
        ("inet_http_server", InetHttpServer),
        ("rpcinterface", RpcInterface),
        ("include", Include),
        ("supervisorctl", Supervisorctl),
    ],
)
def test_a_section_has_the_options_that_supervisord_reads(
    section: str, model: type[BaseModel], read_by_supervisord: dict[str, set[str]]
) -> None:
    ours = OURS | ({"command"} if model is Supervisord else set()) | ({"options"} if model is RpcInterface else set())
    known = {field.alias or name for name, field in model.model_fields.items()}
    assert known - ours == read_by_supervisord[section]


@pytest.mark.parametrize("model", [model for _, model, _ in TABLES], ids=lambda model: model.__name__)
def test_every_option_has_a_sentence(model: type[BaseModel]) -> None:
    assert not model.model_fields.keys() - option_texts(model).keys() - {"source"}


@pytest.mark.parametrize("model", [Program, Group, FcgiProgram, EventListener, Supervisord, UnixHttpServer])
def test_every_option_of_supervisord_has_an_owner(model: type[BaseModel]) -> None:
    assert not [name for name, field in model.model_fields.items() if owner_of(field) is None]


@pytest.mark.parametrize("model", [Program, FcgiProgram, EventListener, Supervisord, UnixHttpServer, Supervisorctl])
def test_a_refused_option_is_refused(model: type[BaseModel]) -> None:
    refused = [name for name, field in model.model_fields.items() if owner_of(field) is Owner.REFUSED]
    needed = {"command": "x", "socket": "tcp://a:1", "events": "TICK_5"}
    for name in refused:
        given = {key: value for key, value in needed.items() if key in model.model_fields and model is not Supervisord}
        model.model_validate(given)
        with pytest.raises(ValueError, match=r"Leave .* out"):
            model.model_validate({**given, name: "1"})
    assert refused


def test_a_name_at_the_top_belongs_to_one_section() -> None:
    groups = [PROGRAM_OPTIONS, AIRFLOW_OPTIONS, DAG_OPTIONS, frozenset(TOP)]
    for index, one in enumerate(groups):
        for other in groups[index + 1 :]:
            assert not one & other


def test_the_hosts_fields_are_not_forgotten() -> None:
    assert {"supervisord", "unix_http_server", "inet_http_server", "include"} <= Host.model_fields.keys()


def test_the_page_of_options_is_current() -> None:
    cure = "run: python -m airflow_supervisor_jobs.config.reference > docs/reference/options.md"
    assert PAGE.read_text(encoding="utf-8") == options_table(), cure
