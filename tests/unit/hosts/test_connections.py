"""Connections without Airflow's database."""

from __future__ import annotations

import json

import pytest

from airflow_supervisor_jobs.exceptions import HostRefused
from airflow_supervisor_jobs.hosts.connections import EnvironmentConnection, aload_connection, load_connection

EXTRA = {"key_file": "/k", "no_host_key_check": "true"}
EXPECTED = EnvironmentConnection(host="far", port=2222, login="me@here", password="p:w/d", extra=json.dumps(EXTRA))
FIELDS = {"conn_type": "ssh", "host": "far", "port": 2222, "login": "me@here", "password": "p:w/d"}


@pytest.mark.parametrize(
    "text",
    [
        "ssh://me%40here:p%3Aw%2Fd@far:2222/?key_file=%2Fk&no_host_key_check=true",
        json.dumps({**FIELDS, "extra": EXTRA}),
        json.dumps({**FIELDS, "port": "2222", "extra": json.dumps(EXTRA)}),
    ],
    ids=["uri", "json", "json-of-text"],
)
async def test_a_connection_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_TRADING_1", text)
    assert load_connection("trading_1") == EXPECTED
    assert await aload_connection("trading_1") == EXPECTED


def test_an_extra_in_airflows_own_way() -> None:
    assert EnvironmentConnection.from_text("ssh://far/?__extra__=%7B%22a%22%3A+1%7D").extra == '{"a": 1}'


async def test_one_that_is_not_there_is_refused_with_the_cure() -> None:
    with pytest.raises(HostRefused, match=r"\$AIRFLOW_CONN_TRADING_1"):
        load_connection("trading_1")
    with pytest.raises(HostRefused, match=r"\$AIRFLOW_CONN_TRADING_1"):
        await aload_connection("trading_1")


@pytest.mark.parametrize("text", ["", "hunter2", "{hunter2", "ssh:far", '{"port": "hunter2"}', "ssh://far:hunter2"])
def test_one_that_cannot_be_read_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_C", text)
    with pytest.raises(HostRefused, match=r"\$AIRFLOW_CONN_C") as refused:
        load_connection("c")
    assert "hunter2" not in str(refused.value)


def test_a_password_is_not_shown() -> None:
    assert "p:w/d" not in repr(EXPECTED)
