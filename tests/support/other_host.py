"""A stand-in for ssh and scp: the other host is a directory, in which commands run and sockets lie.

It takes the options that the page about it shows. `install` writes two commands that call it.
"""

import getopt
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Final

RUNTIME: Final = "/run/user/1000"
"""What the sockets' directory of the user is called on the other host."""


def install(host: Path, commands: Path) -> None:
    """Make an empty host, and `ssh` and `scp` in the directory `commands` that lead to it."""
    (host / "run").mkdir(parents=True, mode=0o700)
    commands.mkdir()
    for name in ("ssh", "scp"):
        script = commands / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{__file__}" "{host}" {name} "$@"\n')
        script.chmod(0o700)


def environment(host: Path) -> dict[str, str]:
    """Return the environment of a command on the host."""
    return {**os.environ, "XDG_RUNTIME_DIR": str(host / "run")}


def _ssh(host: Path, words: list[str]) -> int:
    options, (_, *command) = getopt.getopt(words, "fNMtS:o:O:L:")
    given = dict(options)
    if "-O" in given:
        os.kill(int(Path(given["-S"]).read_text()), signal.SIGTERM)
        Path(given["-S"]).unlink()
        sys.stdout.write("Exit request sent.\n")
        return 0
    forwards = [value.split(":") for option, value in options if option == "-L"]
    if not forwards:
        return subprocess.run(
            ["bash", "-c", " ".join(command)], cwd=host, env=environment(host), check=False
        ).returncode
    listeners = [(_listen(here), there.replace(RUNTIME, str(host / "run"))) for here, there in forwards]
    child = os.fork()
    if child:
        Path(given["-S"]).write_text(str(child))
        return 0
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    for listener, there in listeners:
        threading.Thread(target=_forward, args=(listener, there), daemon=True).start()
    threading.Event().wait()
    return 0


def _listen(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    return listener


def _forward(listener: socket.socket, there: str) -> None:
    while True:
        near, _ = listener.accept()
        far = socket.socket(socket.AF_UNIX)
        far.connect(there)
        for source, sink in ((near, far), (far, near)):
            threading.Thread(target=_pump, args=(source, sink), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    while data := source.recv(1 << 16):
        sink.sendall(data)
    sink.shutdown(socket.SHUT_WR)


def _scp(host: Path, words: list[str]) -> int:
    _, (source, target) = getopt.getopt(words, "q")
    shutil.copyfile(source, host / target.partition(":")[2])
    return 0


if __name__ == "__main__":
    _, place, program, *arguments = sys.argv
    sys.exit({"ssh": _ssh, "scp": _scp}[program](Path(place), arguments))
