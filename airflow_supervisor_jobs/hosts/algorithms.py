"""Which algorithms both SSH libraries speak: what one cannot do is refused before the host is touched."""

from __future__ import annotations

from functools import lru_cache

from airflow_supervisor_jobs.exceptions import HostRefused
from airflow_supervisor_jobs.hosts.address import SSHSettings

#: The kinds of ``disabled_algorithms``, as paramiko calls them.
KINDS = ("ciphers", "macs", "keys", "pubkeys", "kex")


def refuse_unknown(ssh: SSHSettings, *, host: str) -> None:
    """Do nothing.

    :raises HostRefused: a cipher is not one of both libraries, or a kind of algorithm is not one of ours.
    """
    both = _common_ciphers() if ssh.ciphers else frozenset()
    if unknown := [name for name in ssh.ciphers if name not in both]:
        raise HostRefused(
            f"its ciphers {unknown} are not known to both paramiko and asyncssh. Choose of: {', '.join(sorted(both))}.",
            host=host,
        )
    if unknown := [kind for kind, _names in ssh.disabled_algorithms if kind not in KINDS]:
        raise HostRefused(f"its disabled_algorithms has {unknown}. Its kinds are: {', '.join(KINDS)}.", host=host)


@lru_cache(maxsize=1)
def _common_ciphers() -> frozenset[str]:
    import paramiko
    from asyncssh.encryption import get_encryption_algs

    theirs = {name.decode() for name in get_encryption_algs()}
    return frozenset(paramiko.Transport._preferred_ciphers) & theirs  # type: ignore[attr-defined]
