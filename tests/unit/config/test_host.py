"""What makes a host."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from airflow_supervisor_jobs.config import DEFAULT_ROOT, Host


def test_a_host_without_an_address_is_the_one_that_asks() -> None:
    assert Host().is_local
    assert Host().name == "local"
    assert not Host(hostname="h").is_local
    assert not Host(ssh_conn_id="c").is_local


@pytest.mark.parametrize("root", [DEFAULT_ROOT, "/srv/jobs", "~/x", "/srv/{{ params.site }}", "{{ root }}"])
def test_a_root_is_a_folder_of_its_own(root: str) -> None:
    assert Host(root=root).root == root


@pytest.mark.parametrize("root", ["", "/", "~", "~/", "jobs", "../jobs", "~ada/jobs", "/a\nb", "C:\\jobs"])
def test_a_root_is_nothing_else(root: str) -> None:
    with pytest.raises(ValidationError):
        Host(root=root)


@pytest.mark.parametrize("hostname", ["-oProxyCommand=evil", "a b", "", " a", "a\n"])
def test_an_address_is_no_option_of_ssh(hostname: str) -> None:
    with pytest.raises(ValidationError):
        Host(hostname=hostname)


@pytest.mark.parametrize("name", ["port", "username", "key_file", "proxy_jump", "conn_timeout", "use_agent"])
def test_what_belongs_to_ssh_needs_an_address(name: str) -> None:
    value = 5 if name in ("port", "conn_timeout") else "yes"
    with pytest.raises(ValidationError, match="is for SSH"):
        Host.model_validate({name: value})
    assert Host.model_validate({name: value, "hostname": "h"})
