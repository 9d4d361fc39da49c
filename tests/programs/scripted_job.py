#!/usr/bin/env python3
"""The actor of the tests: a program that does what its options say and keeps a ledger of its own.

Nothing of ours reads or writes the ledger while a job runs, so a test may believe it against everything else.
Each line is a JSON object: ``event`` (``start``, ``beat``, ``signal`` or ``exit``), ``pid``, ``ppid``, ``ticks``
(start time in clock ticks since boot), ``boot_id``, ``mark`` (of the generation, from the environment), ``role``
(``main`` or ``child``) and ``time``; a start has ``argv``, an exit ``exit_code`` or ``die_by``, a signal ``signal``.
A death by a signal that cannot be caught leaves no line.

Standard library only, Python 3.6 and up: hosts run it with whatever they have.
"""

import argparse
import json
import os
import signal
import sys
import time

MARK = "AIRFLOW_SUPERVISOR_JOBS_PROCESS"
ENDING = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM")
NOTED = ("SIGUSR1", "SIGUSR2")
NOT_TEXT = b"half a euro \xe2\x82, \xff\xfe, NUL \x00, escape \x1b[31m\n"


class Actor:
    """One process of the job, and its hand on the ledger."""

    def __init__(self, options: argparse.Namespace, role: str) -> None:
        """Note who this process is; call it again after a fork."""
        self.options = options
        self.role = role
        self.started = time.monotonic()
        self.boot_id = read("/proc/sys/kernel/random/boot_id").strip()
        self.ticks = int(read("/proc/self/stat").rpartition(")")[2].split()[19])

    def note(self, event: str, **facts: object) -> None:
        """Append a line in one write, by name, so that a closed descriptor changes nothing."""
        line = {"event": event, "pid": os.getpid(), "ppid": os.getppid(), "ticks": self.ticks, "boot_id": self.boot_id}
        line.update(mark=self.options.mark, role=self.role, time=time.time(), **facts)
        ledger = os.open(self.options.ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(ledger, json.dumps(line).encode("ascii") + b"\n")
        finally:
            os.close(ledger)

    def enter(self) -> None:
        """Answer signals, then write the start."""
        for name in ENDING + NOTED:
            signal.signal(getattr(signal, name), self.on_signal)
        self.note("start", argv=sys.argv)

    def on_signal(self, number: int, _frame: object) -> None:
        """Note a signal, then do with it what the options say, else what it does by default."""
        name = signal.Signals(number).name
        self.note("signal", signal=name)
        if name in NOTED or (name == "SIGTERM" and self.options.ignore_term):
            return
        if name == "SIGTERM" and self.role == "main" and self.options.on_term_exit is not None:
            self.end(exit_code=self.options.on_term_exit)
        die_by(number)

    def end(self, *, exit_code: int) -> None:
        """Write the exit and end, without Python's own tidying."""
        self.note("exit", exit_code=exit_code)
        os._exit(exit_code)

    def beat_for(self, seconds: float) -> None:
        """Beat until that many seconds after the start have passed."""
        while True:
            left = self.started + seconds - time.monotonic()
            if left <= 0:
                return
            self.note("beat")
            time.sleep(min(left, self.options.beat_every))

    def hang_for(self, seconds: float) -> None:
        """Burn a processor, with neither beat nor output."""
        while time.monotonic() < self.started + seconds:
            pass

    def misbehave(self) -> None:
        """Play the tricks that come after the start."""
        if self.options.close_fds:
            os.closerange(0, 1024)
        if self.options.stop_self:
            os.kill(os.getpid(), signal.SIGSTOP)


def act(options: argparse.Namespace) -> None:
    """Be the program."""
    has_children = options.children > 0
    if not has_children:
        clear_environment(options)
    actor = Actor(options, "main")
    actor.enter()
    for _ in range(options.children):
        bear_child(options)
    say(options)
    if not has_children:
        actor.misbehave()
    (actor.hang_for if options.hang else actor.beat_for)(options.run_for)
    write_all(1, numbered_bytes(options.burst_before_exit))
    if options.die_by is not None:
        actor.note("exit", die_by=signal.Signals(options.die_by).name)
        die_by(options.die_by)
    actor.end(exit_code=options.exit_code)


def bear_child(options: argparse.Namespace) -> None:
    """Start a child, or with ``--double-fork`` a grandchild whose parent is gone."""
    pid = os.fork()
    if pid:
        if options.double_fork:
            os.waitpid(pid, 0)
        return
    if options.double_fork and os.fork():
        os._exit(0)
    be_child(options)


def be_child(options: argparse.Namespace) -> None:
    """Be one of the program's children, until ended or for ``--children-run-for`` seconds."""
    if options.setsid and not options.as_child:
        os.setsid()
    clear_environment(options, "--as-child")
    actor = Actor(options, "child")
    actor.enter()
    actor.misbehave()
    actor.beat_for(options.children_run_for)
    actor.end(exit_code=0)


def clear_environment(options: argparse.Namespace, *more: str) -> None:
    """Lose the environment, where wanted, by executing this program anew."""
    if options.clear_env and not options.env_cleared:
        again = [sys.executable, "-S", os.path.abspath(__file__)] + sys.argv[1:]
        again += ["--env-cleared", "--ledger", options.ledger] + list(more)
        if options.mark:
            again += ["--mark", options.mark]
        os.execve(sys.executable, again, {})


def say(options: argparse.Namespace) -> None:
    """Print all that the options ask for, except the burst before the exit."""
    streams = {"stdout": [1], "stderr": [2], "both": [1, 2]}[options.to]
    for number in range(1, options.print_lines + 1):
        for stream in streams:
            write_all(stream, b"line %d\n" % number)
        if options.line_every:
            time.sleep(options.line_every)
    for stream in streams:
        write_all(stream, numbered_bytes(options.print_bytes))
        if options.long_line:
            write_all(stream, b"x" * options.long_line + b"\n")
        if options.invalid_utf8:
            write_all(stream, NOT_TEXT)
        if options.progress:
            write_all(stream, b"".join(b"\r%d%%" % percent for percent in range(0, 101, 10)) + b"\n")


def numbered_bytes(count: int) -> bytes:
    """Return exactly that many bytes of numbered lines of 64 bytes each; the last one may be cut."""
    lines = (b"%-63d\n" % number for number in range(1, count // 64 + 2))
    return b"".join(lines)[:count]


def write_all(stream: int, data: bytes) -> None:
    """Write everything, whatever the pipe takes at a time; nobody listening is no reason to end."""
    try:
        while data:
            data = data[os.write(stream, data) :]
    except OSError:
        pass


def die_by(number: int) -> None:
    """End by a signal's default action."""
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
    os.kill(os.getpid(), number)
    signal.pause()


def signal_number(text: str) -> int:
    """Return the number of a signal given as 9, KILL or SIGKILL."""
    if text.isdigit():
        return int(text)
    name = text.upper()
    return int(signal.Signals[name if name.startswith("SIG") else "SIG" + name])


def read(path: str) -> str:
    """Return a small file's text."""
    with open(path) as file:
        return file.read()


def parse(argv: "list[str]") -> argparse.Namespace:
    """Return the options, with the ledger's path made absolute."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        epilog="The tricks (--stop-self, --close-fds, --clear-env) are played by the children where there are any, "
        "else by the program itself. --ignore-term holds for both.",
    )
    add = parser.add_argument
    add("--ledger", required=True, metavar="PATH", type=os.path.abspath, help="append to this file")
    add("--run-for", type=float, default=0, metavar="S", help="run for that many seconds after the start")
    add("--exit-code", type=int, default=0, metavar="N", help="end with that code")
    add("--die-by", type=signal_number, metavar="SIGNAL", help="end by that signal instead")
    add("--beat-every", type=float, default=0.5, metavar="S", help="write a beat that often (0.5)")
    add("--hang", action="store_true", help="burn a processor with neither beat nor output, until --run-for")
    add("--ignore-term", action="store_true", help="note TERM and go on")
    add("--on-term-exit", type=int, metavar="N", help="on TERM end with that code")
    add("--children", type=int, default=None, metavar="N", help="start that many children")
    add("--children-run-for", type=float, default=600, metavar="S", help="they end by themselves after that (600)")
    add("--fork", action="store_true", help="start one child, if --children does not say how many")
    add("--double-fork", action="store_true", help="the same, and the parent of each is gone")
    add("--setsid", action="store_true", help="the same, and each in a session of its own")
    add("--stop-self", action="store_true", help="stop (SIGSTOP) after the start")
    add("--close-fds", action="store_true", help="close every descriptor after the start")
    add("--clear-env", action="store_true", help="execute anew with an empty environment")
    add("--to", choices=["stdout", "stderr", "both"], default="stdout", help="where output goes (stdout)")
    add("--print-lines", type=int, default=0, metavar="N", help="print 'line 1' to 'line N'")
    add("--line-every", type=float, default=0, metavar="S", help="and pause that long after each")
    add("--print-bytes", type=int, default=0, metavar="N", help="print N bytes of numbered lines of 64 bytes each")
    add("--long-line", type=int, default=0, metavar="N", help="print a line of N bytes")
    add("--invalid-utf8", action="store_true", help="print bytes that are no text")
    add("--progress", action="store_true", help="print a line that overwrites itself with carriage returns")
    add("--burst-before-exit", type=int, default=0, metavar="N", help="like --print-bytes, right before the end")
    add("--mark", default=os.environ.get(MARK), help=argparse.SUPPRESS)
    add("--env-cleared", action="store_true", help=argparse.SUPPRESS)
    add("--as-child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.children is None:
        options.children = int(options.fork or options.double_fork or options.setsid)
    return options


if __name__ == "__main__":
    chosen = parse(sys.argv[1:])
    (be_child if chosen.as_child else act)(chosen)
