"""Reads the key that we log in with, once for both SSH libraries, so that a bad one is called bad by both."""

from __future__ import annotations

from pathlib import Path

import asyncssh

from airflow_supervisor_jobs.exceptions import HostRefused
from airflow_supervisor_jobs.hosts.address import SSHSettings

#: What paramiko can log in with.
_COMMON = ("ssh-rsa", "ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521")


def check_identity(ssh: SSHSettings, *, host: str) -> None:
    """Do nothing.

    :raises HostRefused: the settings' key cannot be read, or not by both libraries.
    """
    what = f"its key {ssh.key_file}" if ssh.key_file else "its private_key"
    try:
        if ssh.key_file:
            text = Path(ssh.key_file).expanduser().read_text("utf-8")
        elif ssh.private_key:
            text = ssh.private_key
        else:
            return
        kind = asyncssh.import_private_key(text, ssh.passphrase).get_algorithm()
    except OSError as error:
        raise HostRefused(f"{what} cannot be read ({error.strerror}). Correct its path or mode.", host=host) from error
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError, ValueError) as error:
        raise HostRefused(f"{what} is no private key or its passphrase is wrong ({error}).", host=host) from error
    if kind not in _COMMON:
        raise HostRefused(f"{what} is of type {kind}, which paramiko cannot use. Take one of {_COMMON}.", host=host)
