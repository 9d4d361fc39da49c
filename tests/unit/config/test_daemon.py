"""A host's own sections: what supervisord reads back is what the file said, or it is refused."""

from __future__ import annotations

import configparser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from supervisor.options import ServerOptions

from airflow_supervisor_jobs.config import Host, InetHttpServer, Job, Secret, Supervisord, render_spec
from airflow_supervisor_jobs.exceptions import ConfigError
from tests.services.texts import names, texts


def conf_of(host: Host) -> str | None:
    job = Job.model_validate({"name": "j", "host": host, "programs": {"p": {"command": "x"}}})
    conf: str | None = render_spec(job, environ={"PASSWORD": "secret"})["daemon"]["conf"]
    return conf


def read_back(conf: str, path: Path) -> ServerOptions:
    """Return what supervisord understands, after the way through the host's own writing of the file."""
    merged = configparser.RawConfigParser()
    merged.read_string(f"[supervisord]\n\n{conf}" if "[supervisord]" not in conf else conf)
    with path.open("w", encoding="utf-8") as file:
        merged.write(file, space_around_delimiters=False)
    options = ServerOptions()
    options.configfile = str(path)
    options.here = str(path.parent)
    return options.read_config(str(path))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("daemon") / "supervisord.conf"


@settings(deadline=None, max_examples=50)
@given(environment=st.dictionaries(names, texts, min_size=1, max_size=3), identifier=texts)
def test_any_value_comes_back_or_is_refused(path: Path, environment: dict[str, str], identifier: str) -> None:
    try:
        conf = conf_of(Host(supervisord=Supervisord(environment=environment, identifier=identifier)))
    except (ConfigError, ValidationError):
        return
    assert conf is not None
    section = read_back(conf, path)
    assert section.environment == environment
    assert section.identifier == identifier


@settings(deadline=None, max_examples=50)
@given(environment=st.dictionaries(names, st.text(st.sampled_from("aB1 %,=:.'-()$"), max_size=12), min_size=1))
def test_ordinary_values_come_back(path: Path, environment: dict[str, str]) -> None:
    clean = {name: value.strip("'") for name, value in environment.items()}
    conf = conf_of(Host(supervisord=Supervisord(environment=clean)))
    assert conf is not None
    assert read_back(conf, path).environment == clean


def test_a_host_that_says_nothing_adds_nothing() -> None:
    assert conf_of(Host()) is None
    assert conf_of(Host(supervisord=Supervisord(attach="/etc/supervisor/supervisord.conf"))) is None


def test_a_password_lets_in_who_knows_it(path: Path) -> None:
    from supervisor.http import supervisor_auth_handler

    server = InetHttpServer(port="localhost:9001", username="me", password=Secret(env="PASSWORD"))
    conf = conf_of(Host(inet_http_server=server))
    assert conf is not None
    assert "secret" not in conf
    found = read_back(conf, path).server_configs[0]
    assert (found["host"], found["port"]) == ("localhost", 9001)
    users = supervisor_auth_handler({found["username"]: found["password"]}, None).authorizer
    assert users.authorize(("me", "secret"))
    assert not users.authorize(("me", "wrong"))


@pytest.mark.parametrize("port", ["9001", "127.0.0.1:9001", "127.1.2.3:1", "localhost:65535", 9001])
def test_the_loopback_is_allowed(port: str) -> None:
    server = InetHttpServer(port=port, username="me", password=Secret(env="X"))
    assert server.port.startswith(("127.", "localhost:"))


@pytest.mark.parametrize("port", ["*:9001", "0.0.0.0:9001", ":9001", "example.org:9001", "10.0.0.1:80", "0", "x"])
def test_nothing_else_is(port: str) -> None:
    with pytest.raises(ValidationError, match=r"would listen to everybody|is not a port"):
        InetHttpServer(port=port, username="me", password=Secret(env="X"))


def test_an_attached_supervisord_keeps_its_config() -> None:
    with pytest.raises(ValidationError, match="has a config of its own"):
        Supervisord(attach="/etc/supervisord.conf", minfds=5)
    assert Supervisord.model_validate(Supervisord(attach="/x").model_dump()) == Supervisord(attach="/x")


@pytest.mark.parametrize("value", ["a\nb", "a ;b", "a #b", " a", "a ", "", '"a"', "a\n[program:evil]"])
def test_a_value_cannot_leave_its_line(value: str) -> None:
    with pytest.raises(ValidationError):
        Supervisord(identifier=value)
