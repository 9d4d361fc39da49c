"""What is a host's public key, and what only looks like one."""

from __future__ import annotations

import asyncssh
import pytest
from pydantic import ValidationError

from airflow_supervisor_jobs.config import Host

KINDS = ["ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp521"]


def key(kind: str) -> str:
    return " ".join(asyncssh.generate_private_key(kind).export_public_key().decode().split()[:2])


@pytest.fixture(scope="module")
def ed25519() -> str:
    return key("ssh-ed25519")


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_is_one_with_a_comment_and_without_its_type(kind: str) -> None:
    text = key(kind)
    for written in (text, f"{text} ada@far", text.split()[1], f" {text}\n", "{{ conn.far.extra_dejson.host_key }}"):
        assert Host(hostname="h", host_key=written).host_key == written


@pytest.mark.parametrize(
    "garbage", ["AAAAgarbage", "", "garbage!", "AAAA", "ssh-ed25519 AAAAgarbage", "ssh-rsa", "nonsense"]
)
def test_garbage_is_none(garbage: str) -> None:
    with pytest.raises(ValidationError, match=r"no base64 that holds one\. Take a line of ssh-keyscan|at least 1"):
        Host(hostname="h", host_key=garbage)


def test_a_key_that_was_cut_is_none(ed25519: str) -> None:
    for length in range(len("ssh-ed25519 "), len(ed25519)):
        with pytest.raises(ValidationError, match="no base64 that holds one"):
            Host(hostname="h", host_key=ed25519[:length])


def test_the_type_is_that_of_the_key(ed25519: str) -> None:
    with pytest.raises(ValidationError, match="says ssh-rsa, and its base64 holds a key of type ssh-ed25519"):
        Host(hostname="h", host_key=ed25519.replace("ssh-ed25519", "ssh-rsa"))


@pytest.mark.parametrize("name", ["far", "127.0.0.1", "[127.0.0.1]:22422"])
def test_the_name_is_left_out(name: str, ed25519: str) -> None:
    with pytest.raises(ValidationError, match=r"begins with a name, .*Leave it out"):
        Host(hostname="h", host_key=f"{name} {ed25519}")
