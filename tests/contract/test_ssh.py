"""What hosts reached by SSH put in our way, and what is said about it: the same by both libraries."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncssh
import paramiko
import pytest

from airflow_supervisor_jobs.config import Host
from airflow_supervisor_jobs.exceptions import HostRefused, HostUnreachable
from airflow_supervisor_jobs.hosts import stream
from airflow_supervisor_jobs.hosts.connect import SSHLibrary, open_pipe
from airflow_supervisor_jobs.hosts.connections import load_connection
from airflow_supervisor_jobs.hosts.paramiko_pipe import ParamikoPipe
from airflow_supervisor_jobs.hosts.refusals import fingerprint
from airflow_supervisor_jobs.hosts.settings import HostSettings, resolve
from airflow_supervisor_jobs.hosts.stream import StreamPipe
from tests.services.embedded_ssh import EmbeddedSSH
from tests.services.link import Link
from tests.services.ssh import LOOPBACK, SSHAccount, free_port
from tests.services.sshd import OpenSSH
from tests.services.waiting import eventually

Server = OpenSSH | EmbeddedSSH
pytestmark = pytest.mark.timeout(60)
needs_openssh = pytest.mark.openssh


@pytest.fixture(params=list(SSHLibrary), ids=lambda library: library.value)
def library(request: pytest.FixtureRequest) -> SSHLibrary:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(params=[pytest.param("openssh", marks=needs_openssh), "embedded_ssh"])
def server(request: pytest.FixtureRequest) -> Server:
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]


def pipe_to(server: SSHAccount, library: SSHLibrary, root: Path, **more: Any) -> StreamPipe:
    host = Host.model_validate(server.host(name="far", root=str(root), **more))
    return open_pipe(resolve(host, user_config=None), library=library)


async def refusal(pipe: StreamPipe) -> str:
    with pytest.raises(HostRefused) as refused:
        async with pipe:
            pass
    assert refused.value.host == "far"
    return refused.value.message


async def works(pipe: StreamPipe) -> dict[str, Any]:
    async with pipe:
        return await pipe.request("ping")


async def test_a_noisy_login_is_no_obstacle(server: Server, library: SSHLibrary, root: Path) -> None:
    (server.home / ".bashrc").write_text("echo Welcome to the machine; echo beware >&2; printf 'no newline'\n")
    assert await works(pipe_to(server, library, root))


async def test_endless_noise_is_refused(server: Server, library: SSHLibrary, root: Path) -> None:
    (server.home / ".bashrc").write_text("yes I never stop\n")
    assert "login scripts" in await refusal(pipe_to(server, library, root))


async def test_a_login_script_that_exits_is_quoted(server: Server, library: SSHLibrary, root: Path) -> None:
    (server.home / ".bashrc").write_text("echo This account is not available; exit 1\n")
    assert "This account is not available" in await refusal(pipe_to(server, library, root))


async def test_a_missing_python_is_named_with_the_cure(server: Server, library: SSHLibrary, root: Path) -> None:
    said = await refusal(pipe_to(server, library, root, python="python9"))
    assert "python9: command not found" in said
    assert "set the host's `python`" in said


async def test_the_reason_is_quoted_though_its_reader_is_late(
    embedded_ssh: EmbeddedSSH, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recv_stderr = paramiko.Channel.recv_stderr

    def late(session: paramiko.Channel, size: int) -> bytes:
        threading.Event().wait(0.5)  # late is the fault here: no event that could be waited for
        return recv_stderr(session, size)

    monkeypatch.setattr(paramiko.Channel, "recv_stderr", late)
    assert "command not found" in await refusal(pipe_to(embedded_ssh, SSHLibrary.PARAMIKO, root, python="python9"))


async def test_a_program_that_is_no_python_is_refused(server: Server, library: SSHLibrary, root: Path) -> None:
    assert "must be Python 3.6" in await refusal(pipe_to(server, library, root, python="/bin/ls"))


async def test_a_home_in_the_python_is_the_hosts(server: Server, library: SSHLibrary, root: Path) -> None:
    (server.home / "my python").symlink_to(sys.executable)
    assert await works(pipe_to(server, library, root, python="~/my python"))


async def test_a_host_that_has_only_a_python_is_brought_a_supervisord(
    library: SSHLibrary, root: Path, short_folder: Path
) -> None:
    commands = short_folder / "bin"
    commands.mkdir()
    (commands / "python3").symlink_to(Path(sys.base_prefix, "bin", "python3"))
    with EmbeddedSSH(short_folder / "e") as server:
        server.path = str(commands)
        async with pipe_to(server, library, root) as pipe:
            assert pipe.hello["supervisord"]["source"] == "bundled"
            assert (root / "lib").is_dir()


async def test_a_root_that_cannot_be_made_is_refused_with_the_reason(
    server: Server, library: SSHLibrary, short_folder: Path
) -> None:
    (short_folder / "file").touch()
    said = await refusal(pipe_to(server, library, short_folder / "file" / "root"))
    assert "Not a directory" in said


async def test_another_host_key_is_refused(server: Server, library: SSHLibrary, root: Path) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    said = await refusal(pipe_to(server, library, root, host_key=other))
    assert f"(shown: {fingerprint(server.host_key)}; known: {fingerprint(other)})" in said


async def test_an_unknown_host_key_is_refused(server: Server, library: SSHLibrary, root: Path) -> None:
    server.known_hosts.write_text("")
    assert "no host key" in await refusal(pipe_to(server, library, root))


async def test_a_wrong_key_is_refused_at_once(server: Server, library: SSHLibrary, root: Path) -> None:
    server.key_file.write_bytes(asyncssh.generate_private_key("ssh-ed25519").export_private_key())
    said = await refusal(pipe_to(server, library, root, use_agent=False))
    assert f"our login of user {server.username!r}, tried with key file {server.key_file} (" in said
    assert ".)" not in said


@pytest.mark.parametrize("kind", ["ssh-rsa", "ecdsa-sha2-nistp256"])
async def test_other_kinds_of_keys_with_a_passphrase(
    server: Server, library: SSHLibrary, root: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    key = asyncssh.generate_private_key(kind)
    server.authorized_keys.write_bytes(key.export_public_key())
    if isinstance(server, EmbeddedSSH):
        server.stop()
        server.start()
    server.key_file.write_bytes(key.export_private_key(passphrase="open sesame"))
    monkeypatch.setenv("THE_PASSPHRASE", "open sesame")
    assert await works(pipe_to(server, library, root, passphrase_env="THE_PASSPHRASE"))
    monkeypatch.setenv("THE_PASSPHRASE", "wrong")
    assert "passphrase is wrong" in await refusal(pipe_to(server, library, root, passphrase_env="THE_PASSPHRASE"))


async def test_a_password_by_reference(
    short_folder: Path, library: SSHLibrary, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THE_PASSWORD", "hunter2")
    with EmbeddedSSH(short_folder / "e", password="hunter2") as server:
        server.key_file.write_bytes(asyncssh.generate_private_key("ssh-ed25519").export_private_key())
        host = Host.model_validate(
            server.host(name="far", root=str(root), key_file=None, use_agent=False, password_env="THE_PASSWORD")
        )
        settings = resolve(host, user_config=None)
        assert "hunter2" not in repr(settings)
        assert await works(open_pipe(settings, library=library))


async def test_the_users_agent_alone(
    server: Server, library: SSHLibrary, root: Path, short_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("ssh-agent") is None:
        pytest.skip("there is no ssh-agent (Debian: apt-get install openssh-client)")
    socket_path = short_folder / "agent.sock"
    monkeypatch.setenv("AIRFLOW_CONN_FAR", server.connection(key_file=None, look_for_keys="false"))
    settings = resolve(Host(name="far", ssh_conn_id="far", root=str(root)), load_connection("far"), user_config=None)
    with subprocess.Popen(["ssh-agent", "-D", "-a", str(socket_path)], stdout=subprocess.DEVNULL) as agent:
        try:
            await eventually(socket_path.exists, last_seen=lambda: list(short_folder.iterdir()))
            monkeypatch.setenv("SSH_AUTH_SOCK", str(socket_path))
            assert "log" in await refusal(open_pipe(settings, library=library))
            subprocess.run(["ssh-add", "-q", str(server.key_file)], check=True)
            assert await works(open_pipe(settings, library=library))
        finally:
            agent.terminate()


async def test_a_connection_of_airflows_leads_there_too(
    server: Server, library: SSHLibrary, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_FAR", server.connection(private_key=server.key_file.read_text(), key_file=None))
    host = Host(name="far", ssh_conn_id="far", root=str(root))
    assert await works(open_pipe(resolve(host, load_connection("far"), user_config=None), library=library))


async def test_a_hook_of_airflows_may_do_the_connecting(
    server: Server, root: Path, short_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(short_folder))
    monkeypatch.setenv("AIRFLOW_HOME", str(short_folder))
    from airflow.providers.ssh.hooks.ssh import SSHHook

    hook = SSHHook(
        remote_host=server.hostname,
        port=server.port,
        username=server.username,
        key_file=str(server.key_file),
        no_host_key_check=True,
    )
    assert await works(ParamikoPipe(HostSettings(host="far", root=str(root)), connect=hook.get_conn))


@pytest.mark.parametrize("is_known", [True, False], ids=["known", "no-known-key"])
async def test_nobody_listening_is_unreachable(
    short_folder: Path,
    library: SSHLibrary,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    is_known: bool,
) -> None:
    monkeypatch.setattr("airflow_supervisor_jobs.hosts.refusals.REFUSED_PATIENCE", 0.5)
    server = SSHAccount(short_folder / "nobody")
    server.write_keys()
    server.port = free_port()
    if is_known:
        server.write_known_hosts()
    caplog.set_level("INFO", "airflow_supervisor_jobs.hosts.handshake")
    words = f"nobody listens on {LOOPBACK}:{server.port}. Check that the host is up, its `port`, and sshd."
    with pytest.raises(HostUnreachable, match=f"^far: {words}$"):
        await pipe_to(server, library, root).open()
    assert f"Trying again: far: {words}" in caplog.messages


@pytest.mark.parametrize("is_known", [True, False], ids=["known", "no-known-key"])
async def test_a_name_that_nobody_knows_is_called_so(
    short_folder: Path, library: SSHLibrary, root: Path, is_known: bool
) -> None:
    server = SSHAccount(short_folder / "nobody")
    server.write_keys()
    server.hostname, server.port = "nohost.invalid", free_port()
    if is_known:
        server.write_known_hosts()
    with pytest.raises(HostUnreachable, match=r"its name 'nohost\.invalid' cannot be resolved"):
        await pipe_to(server, library, root).open()


async def test_one_that_is_silent_from_the_start_is_unreachable(
    short_folder: Path, library: SSHLibrary, root: Path
) -> None:
    silent = socket.create_server((LOOPBACK, 0))  # the kernel lets us connect, and nobody ever accepts
    server = SSHAccount(short_folder / "nobody")
    server.write_keys()
    server.port = silent.getsockname()[1]
    server.write_known_hosts()
    settings = resolve(Host.model_validate(server.host(name="far", root=str(root))), user_config=None)
    assert settings.ssh is not None
    hasty = replace(settings.ssh, conn_timeout=0.2, banner_timeout=0.2, auth_timeout=0.2)
    with pytest.raises(HostUnreachable):
        await asyncio.wait_for(open_pipe(replace(settings, ssh=hasty), library=library).open(), 30)
    silent.close()


async def test_a_network_that_swallows_everything_is_noticed_and_left_at_once(
    server: Server, library: SSHLibrary, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "SILENCE_LIMIT", 8)
    loop = asyncio.get_running_loop()
    async with Link(server.port) as link:
        host = server.host(name="far", root=str(root), port=link.port, host_key=server.host_key)
        pipe = open_pipe(resolve(Host.model_validate(host), user_config=None), library=library)
        await pipe.open()
        link.swallow()
        spec = {"format": 1, "job": "job", "filler": "x" * 8_000_000}
        request = pipe.request("install", spec=spec, owner=None, if_running="adopt")
        with pytest.raises(HostUnreachable, match="silent for 8 s"):
            await asyncio.wait_for(request, 40)
        closing = loop.time()
        await asyncio.wait_for(pipe.close(), 20)
        assert loop.time() - closing < 10
        async with pipe_to(server, library, root) as other:
            assert await other.request("ping")


@needs_openssh
@pytest.mark.parametrize(
    ("options", "key_options"),
    [
        ({"DisableForwarding": "yes"}, ""),
        ({"AllowTcpForwarding": "no", "AllowStreamLocalForwarding": "no"}, ""),
        ({}, "restrict"),
    ],
    ids=["DisableForwarding", "no-forwarding", "restrict"],
)
async def test_hosts_that_forward_nothing_are_hosts_too(
    short_folder: Path, library: SSHLibrary, root: Path, options: dict[str, str], key_options: str
) -> None:
    with OpenSSH(short_folder / "s", options=options, key_options=key_options) as server:
        assert await works(pipe_to(server, library, root))


@needs_openssh
async def test_a_forced_command_is_refused_and_quoted(short_folder: Path, library: SSHLibrary, root: Path) -> None:
    with OpenSSH(short_folder / "s", key_options='command="echo only this; exit 5"') as server:
        assert "only this" in await refusal(pipe_to(server, library, root))


@needs_openssh
@pytest.mark.timeout(180)
async def test_all_get_in_where_sshd_drops_some_at_first(short_folder: Path, library: SSHLibrary, root: Path) -> None:
    with OpenSSH(short_folder / "s", options={"MaxStartups": "2:80:4"}) as server:
        answers = await asyncio.gather(*(works(pipe_to(server, library, root)) for _ in range(8)))
        assert len(answers) == 8
        assert "MaxStartups" in server.log.read_text()


@pytest.mark.parametrize("how", ["proxy_jump", "proxy_command"])
async def test_through_another_host(
    short_folder: Path, library: SSHLibrary, root: Path, embedded_ssh: EmbeddedSSH, how: str
) -> None:
    with EmbeddedSSH(short_folder / "jump") as jump:
        known = jump.known_hosts.read_text() + embedded_ssh.known_hosts.read_text()
        embedded_ssh.known_hosts.write_text(known)
        jump.authorized_keys.write_bytes(embedded_ssh.authorized_keys.read_bytes())
        jump.stop()
        jump.start()
        through = {
            "proxy_jump": f"{jump.username}@{jump.hostname}:{jump.port}",
            "proxy_command": f"{sys.executable} -S {write_netcat(short_folder)} %h %p",
        }
        assert await works(pipe_to(embedded_ssh, library, root, **{how: through[how]}))
        assert jump.logins == (1 if how == "proxy_jump" else 0)


async def test_compression_ciphers_and_disabled_algorithms_reach_the_library(
    server: Server, library: SSHLibrary, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disabled = {"macs": ["hmac-sha1"], "kex": ["diffie-hellman-group14-sha1"], "pubkeys": ["ssh-rsa"]}
    extra = {"ciphers": ["aes256-ctr"], "compress": False, "disabled_algorithms": disabled}
    monkeypatch.setenv("AIRFLOW_CONN_FAR", server.connection(**extra))
    host = Host(name="far", ssh_conn_id="far", root=str(root))
    assert await works(open_pipe(resolve(host, load_connection("far"), user_config=None), library=library))
    none_left = {"macs": ["hmac-sha2-256", "hmac-sha2-512", "hmac-sha1", "hmac-md5"]}
    none_left["macs"] += ["hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com"]
    none_left["macs"] += ["hmac-sha1-96", "hmac-md5-96", "hmac-sha1-etm@openssh.com"]
    if library is SSHLibrary.PARAMIKO:
        monkeypatch.setenv("AIRFLOW_CONN_FAR", server.connection(ciphers=["aes256-ctr"], disabled_algorithms=none_left))
        far = open_pipe(resolve(host, load_connection("far"), user_config=None), library=library)
        assert "algorithms" in await refusal(far)


def write_netcat(folder: Path) -> Path:
    """Write a program that joins its standard streams with a TCP port."""
    program = folder / "netcat.py"
    program.write_text(
        "import os, socket, sys, threading\n"
        "link = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n"
        "def back():\n"
        "    while data := link.recv(65536): os.write(1, data)\n"
        "    os._exit(0)\n"
        "threading.Thread(target=back, daemon=True).start()\n"
        "while data := os.read(0, 65536): link.sendall(data)\n"
    )
    return program
