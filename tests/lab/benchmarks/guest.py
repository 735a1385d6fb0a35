"""A processor at work: instructions and port accesses a second, and how soon a loaded guest runs."""

import dataclasses
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from unicorn import UC_ARCH_X86, UC_HOOK_INSN, UC_MODE_16, Uc, x86_const  # noqa: TID253  this is what is measured

from chkpt import Checkpoint, dumps
from chkpt.machine import Machine
from chkpt.machine.config import parse
from chkpt.machine.cpu.power_on import power_on
from tests.lab.benchmarks.figure import Figure, figure

START = 0x8000
SAMPLES = 12

LOOPS = 10_000_000
BODY = bytes.fromhex("6601c3 6631d8 6683c007 66c1c305 6629c2 6621d6 6609c7 6640")  # add xor add rol sub and or inc
NEXT = bytes.fromhex("6649 75")  # dec ecx; jnz
INSTRUCTIONS = 10  # in one round of the loop

ACCESSES = 40_000
IMR = 0x21  # the mask register of the 8259A
IN, OUT = b"\xec", b"\xee"


def guest() -> list[Figure]:
    """Measure a machine, and beside it Unicorn alone with the same code."""
    return [*_instructions(), *_accesses(), _first_instruction()]


# -- code -------------------------------------------------------------------------------------------------------------


def _looped(body: bytes, times: int) -> bytes:
    """Return real-mode code that runs `body` so many times with DX = IMR, and halts."""
    back = -(len(body) + len(NEXT) + 1)
    begin = b"\xba" + IMR.to_bytes(2, "little") + b"\x66\xb9" + times.to_bytes(4, "little")
    return begin + body + NEXT + back.to_bytes(1, "little", signed=True) + b"\xfb\xf4"  # sti; hlt: it sleeps


def _machine(code: bytes, model: str = "unicorn") -> Machine:
    """Return a machine that is about to run `code`."""
    devices = [{"type": "pic"}, {"type": "pit"}, {"type": "serial", "name": "com1", "port": 0x3F8, "irq": 4}]
    machine = Machine(parse({"name": "bench", "memory": "1M", "cpu": {"model": model}, "device": devices}))
    machine.memory.write(START, code)
    _begin(machine)
    return machine


def _begin(machine: Machine) -> None:
    assert machine.execution is not None
    state = power_on(machine.execution.cpu.ticks, a20=True)
    segment = dataclasses.replace(state.cs, selector=0, base=0)
    machine.execution.load(dataclasses.replace(state, rip=START, cs=segment))


def _rates(run: Callable[[], object], begin: Callable[[], object], count: int) -> list[float]:
    """Return how many of `count` were done in a second, in each run but the first."""
    rates: list[float] = []
    for _ in range(SAMPLES + 1):
        begin()
        start = time.perf_counter()
        run()
        rates.append(count / (time.perf_counter() - start))
    return rates[1:]


def _of_machine(code: bytes, count: int, model: str = "unicorn") -> list[float]:
    machine = _machine(code, model)
    rates = _rates(machine.run, lambda: _begin(machine), count)
    machine.close()
    return rates


def _of_unicorn(code: bytes, count: int) -> list[float]:
    """Run the same on Unicorn alone; ports are answered by an empty function."""
    uc = Uc(UC_ARCH_X86, UC_MODE_16)
    uc.mem_map(0, 1 << 20)
    uc.mem_write(START, code)
    uc.hook_add(UC_HOOK_INSN, lambda *_: 0, None, 1, 0, x86_const.UC_X86_INS_IN)
    uc.hook_add(UC_HOOK_INSN, lambda *_: None, None, 1, 0, x86_const.UC_X86_INS_OUT)
    return _rates(lambda: uc.emu_start(START, START + len(code) - 2), lambda: None, count)


# -- figures ----------------------------------------------------------------------------------------------------------


def _instructions() -> list[Figure]:
    code = _looped(BODY, LOOPS)
    count = LOOPS * INSTRUCTIONS
    bare = sorted(_of_unicorn(code, count))[SAMPLES // 2] / 1e6
    portable = LOOPS // 20
    few = _looped(BODY, portable)
    cases = [
        ("ALU loop, blocks counted by machine code", _of_machine(code, count)),
        ("ALU loop, blocks counted by Python", _of_machine(few, portable * INSTRUCTIONS, "unicorn-portable")),
    ]
    baseline = f"Unicorn alone {bare:,.0f} MIPS"
    return [
        figure(what, rates, unit="MIPS", target=None, baseline=baseline, most=False, scale=1e-6)
        for what, rates in cases
    ]


def _accesses() -> list[Figure]:
    figures: list[Figure] = []
    for what, body in (("IN from the 8259A", IN), ("OUT to the 8259A", OUT)):
        code = _looped(body, ACCESSES)
        bare = sorted(_of_unicorn(code, ACCESSES))[SAMPLES // 2]
        baseline = f"Unicorn alone, an empty hook in Python {bare:,.0f}/s"
        rates = _of_machine(code, ACCESSES)
        figures.append(figure(f"{what} by a guest", rates, unit="/s", target=None, baseline=baseline, most=False))
    return figures


def _first_instruction() -> Figure:
    """Load a guest whose next instructions send a character, and wait for that."""
    machine = _machine(bytes.fromhex("baf803 b021 ee fbf4"))  # mov dx, 3f8h; mov al, '!'; out dx, al; sti; hlt
    checkpoint = Checkpoint()
    machine.save(checkpoint)
    machine.close()
    empty = Machine(parse({"name": "bench", "memory": "1M"}))
    nothing = Checkpoint()
    empty.save(nothing)
    with tempfile.TemporaryDirectory() as directory:
        snapshot, plain, path = (Path(directory) / name for name in ("guest.zst", "plain.zst", "serial.sock"))
        snapshot.write_bytes(dumps(checkpoint))
        plain.write_bytes(dumps(nothing))
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen(1)
            first = [_until_character(listener, snapshot, path, directory) for _ in range(SAMPLES + 1)][1:]
        serving = sorted(_until_served(plain, directory) for _ in range(SAMPLES))[SAMPLES // 2]
        bare = sorted(_until_nothing() for _ in range(SAMPLES))[SAMPLES // 2]
    baseline = f"a machine without a CPU serves after {serving * 1e3:.0f} ms; python -c pass {bare * 1e3:.0f} ms"
    what = "chkpt run --load to the guest's first OUT"
    return figure(what, first, unit="ms", target=None, baseline=baseline, scale=1e3)


def _run(snapshot: Path, directory: str, *arguments: str) -> "subprocess.Popen[bytes]":
    chkpt = str(Path(sys.executable).parent / "chkpt")
    return subprocess.Popen(
        [chkpt, "run", "--load", str(snapshot), *arguments],
        stdout=subprocess.PIPE,
        env={"XDG_RUNTIME_DIR": directory},
    )


def _until_character(listener: socket.socket, snapshot: Path, path: Path, directory: str) -> float:
    start = time.perf_counter()
    with _run(snapshot, directory, "--char", f"com1=unix:{path}") as process:
        connection, _ = listener.accept()
        with connection:
            if connection.recv(1) != b"!":
                raise RuntimeError("the guest did not run")
        taken = time.perf_counter() - start
        process.terminate()
    return taken


def _until_served(snapshot: Path, directory: str) -> float:
    start = time.perf_counter()
    with _run(snapshot, directory) as process:
        assert process.stdout is not None
        if not process.stdout.readline():
            raise RuntimeError("the machine did not start")
        taken = time.perf_counter() - start
        process.terminate()
    return taken


def _until_nothing() -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return time.perf_counter() - start
