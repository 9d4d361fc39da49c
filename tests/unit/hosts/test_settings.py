"""One resolver: a host's own fields, its Airflow connection, and the user's ssh_config, to one form."""

from __future__ import annotations

import getpass
import json
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from airflow_supervisor_jobs.config import Host
from airflow_supervisor_jobs.exceptions import HostRefused
from airflow_supervisor_jobs.hosts.address import HostKeys, SSHSettings
from airflow_supervisor_jobs.hosts.connections import EnvironmentConnection
from airflow_supervisor_jobs.hosts.settings import HostSettings, resolve

KEY = " ".join(asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().split()[:2])
RSA_KEY = " ".join(asyncssh.generate_private_key("ssh-rsa").export_public_key().decode().split()[:2])


def connection(extra: dict[str, Any] | None = None, **fields: Any) -> EnvironmentConnection:
    return EnvironmentConnection(**{"host": "far", "login": "me", "extra": json.dumps(extra or {}), **fields})


def ssh_of(settings: HostSettings) -> SSHSettings:
    assert settings.ssh is not None
    return settings.ssh


def resolved(extra: dict[str, Any] | None = None, **fields: Any) -> SSHSettings:
    host = Host(name="trading-1", ssh_conn_id="c")
    return ssh_of(resolve(host, connection(extra, **fields), user_config=None))


def test_a_host_with_neither_connection_nor_name_is_this_machine() -> None:
    settings = resolve(Host(name="local", root="/r", python="py"), user_config=None)
    assert settings == HostSettings(host="local", root="/r", python="py")


def test_both_forms_give_the_same_settings() -> None:
    fields = {"hostname": "far", "port": 2222, "username": "me", "key_file": "/k", "host_key": KEY, "conn_timeout": 7}
    declared = resolve(Host.model_validate({"name": "h", **fields, "compress": False}), user_config=None)
    extra = {"key_file": "/k", "host_key": KEY, "conn_timeout": 7, "compress": "false"}
    connected = resolve(Host(name="h", ssh_conn_id="c"), connection(extra, port=2222), user_config=None)
    assert declared == connected


def test_what_is_missing_is_as_in_the_ssh_hook() -> None:
    ssh = resolved(login=None)
    assert (ssh.username, ssh.port, ssh.compress, ssh.look_for_keys) == (getpass.getuser(), 22, True, True)
    assert ssh.host_keys is HostKeys.KNOWN


def test_the_hosts_own_fields_come_first() -> None:
    host = Host(name="h", ssh_conn_id="c", hostname="other", username="you", key_file="/mine", port=23)
    given = connection({"private_key": "a key", "conn_timeout": 3}, port=22)
    ssh = ssh_of(resolve(host, given, user_config=None))
    assert (ssh.hostname, ssh.username, ssh.port, ssh.key_file) == ("other", "you", 23, "/mine")
    assert ssh.private_key is None
    assert ssh.conn_timeout == 3


@pytest.mark.parametrize(
    ("extra", "policy"),
    [
        ({}, HostKeys.KNOWN),
        ({"no_host_key_check": "true"}, HostKeys.NEW),
        ({"no_host_key_check": False}, HostKeys.KNOWN),
        ({"ignore_hostkey_verification": True}, HostKeys.NEW),
        ({"no_host_key_check": "true", "allow_host_key_change": "True"}, HostKeys.ANY),
        ({"known_hosts": "None"}, HostKeys.ANY),
    ],
)
def test_host_keys_are_checked_unless_the_connection_says_otherwise(extra: dict[str, Any], policy: HostKeys) -> None:
    assert resolved(extra).host_keys is policy


@pytest.mark.parametrize(
    "text", [KEY, f"{KEY} a comment", f"  {KEY}\n", KEY.split()[1]], ids=["line", "comment", "blanks", "data"]
)
def test_a_host_key_is_known_by_its_data(text: str) -> None:
    assert resolved({"host_key": text}).host_key == KEY
    assert resolved({"host_key": RSA_KEY.split()[1]}).host_key == RSA_KEY


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"host_key": "ssh-rsa"}, "host_key"),
        ({"host_key": "ssh-ed25519 nonsense"}, "host_key"),
        ({"host_key": KEY, "no_host_key_check": True}, "host_key"),
        ({"key_file": "/k", "private_key": "k"}, "private_key"),
        ({"conn_timeout": "soon"}, "conn_timeout"),
        ({"conn_timeout": -1}, "conn_timeout"),
        ({"conn_timeout": "nan"}, "conn_timeout"),
        ({"ciphers": "aes256-ctr"}, "ciphers"),
        ({"ciphers": ["rot13"]}, "rot13"),
        ({"disabled_algorithms": ["x"]}, "disabled_algorithms"),
        ({"disabled_algorithms": {"dances": ["x"]}}, "dances"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_what_cannot_be_is_refused_with_words(extra: dict[str, Any], words: str) -> None:
    with pytest.raises(HostRefused, match=words) as refused:
        resolved(extra)
    assert refused.value.host == "trading-1"


@pytest.mark.parametrize("extra", ["[1]", "{", '"text"'])
def test_an_extra_that_is_no_object_is_refused(extra: str) -> None:
    with pytest.raises(HostRefused, match="extra"):
        resolve(Host(name="h", ssh_conn_id="c"), EnvironmentConnection(host="far", extra=extra), user_config=None)


def test_a_connection_without_a_host_is_refused() -> None:
    with pytest.raises(HostRefused, match="names no host"):
        resolved(host=None)


def test_a_connection_that_was_not_looked_up_is_refused() -> None:
    with pytest.raises(HostRefused, match="looked up"):
        resolve(Host(name="h", ssh_conn_id="c"), user_config=None)


def test_secrets_come_by_reference_and_are_not_shown() -> None:
    host = Host(name="h", hostname="far", password_env="P", passphrase_env="Q")
    settings = resolve(host, environ={"P": "hunter2", "Q": "sesame"}, user_config=None)
    assert (ssh_of(settings).password, ssh_of(settings).passphrase) == ("hunter2", "sesame")
    assert "hunter2" not in repr(settings)
    assert "sesame" not in repr(settings)
    with pytest.raises(HostRefused, match=r"\$Q"):
        resolve(host, environ={"P": "hunter2"}, user_config=None)


def test_the_password_opens_the_key_where_nothing_else_does() -> None:
    assert resolved({"key_file": "/k"}, password=" pw ").passphrase == "pw"
    assert resolved({"key_file": "/k", "private_key_passphrase": "pp"}, password="pw").passphrase == "pp"


def test_of_the_users_ssh_config_proxycommand_and_identityfile_count(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("Host far\n  User nobody\n  Port 99\n  ProxyCommand nc %h %p\n  IdentityFile /id\n")
    host = Host(name="h", hostname="far", port=2200)
    ssh = ssh_of(resolve(host, user_config=config))
    assert (ssh.username, ssh.port, ssh.key_file) == (getpass.getuser(), 2200, "/id")
    assert ssh.proxy_command is not None
    assert ssh.proxy_command.startswith("nc far ")
    with_key = Host(name="h", hostname="far", key_file="/mine", proxy_command="mine %h:%p as %r, 100%%")
    ssh = ssh_of(resolve(with_key, user_config=config))
    assert (ssh.key_file, ssh.proxy_command) == ("/mine", f"mine far:22 as {getpass.getuser()}, 100%")


def test_jump_hosts_get_our_key_and_neither_password_nor_pinned_key() -> None:
    host = Host(
        name="h",
        hostname="far",
        username="me",
        key_file="/k",
        host_key=KEY,
        password_env="P",
        proxy_jump="a,you@b:2222",
    )
    ssh = ssh_of(resolve(host, environ={"P": "hunter2"}, user_config=None))
    nearer = ssh.jump
    assert nearer is not None
    assert (nearer.hostname, nearer.username, nearer.port, nearer.key_file) == ("b", "you", 2222, "/k")
    assert (nearer.password, nearer.host_key, nearer.host_keys) == (None, None, HostKeys.KNOWN)
    assert nearer.jump is not None
    assert (nearer.jump.hostname, nearer.jump.username, nearer.jump.jump) == ("a", "me", None)


@pytest.mark.parametrize("jump", ["a b", "", "@", "host:port"])
def test_a_jump_that_is_none_is_refused(jump: str) -> None:
    host = Host.model_construct(**{**Host(name="h", hostname="far").__dict__, "proxy_jump": jump or ","})
    with pytest.raises(HostRefused, match="proxy_jump"):
        resolve(host, user_config=None)


def test_a_jump_and_a_proxy_exclude_each_other() -> None:
    with pytest.raises(HostRefused, match="Leave one"):
        resolve(Host(name="h", hostname="far", proxy_jump="a", proxy_command="nc"), user_config=None)


def test_equal_hosts_have_equal_settings_and_may_share_a_pipe() -> None:
    one, other = (resolve(Host(name="h", hostname="far", ciphers=["aes256-ctr"]), user_config=None) for _ in range(2))
    assert one == other
    assert hash(one) == hash(other)
