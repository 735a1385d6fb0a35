"""A reference 8254 that really counts, CLK pulse by CLK pulse, written from the datasheet (Intel, 231164) alone.

`Counter8254` is one counter as the datasheet's "Mode Definitions" have it, the CLK pulses that load a count included.
`Timer8254` wires three of them as a PC does and holds the two conventions of docs/DEVICES.md, which the product follows
and the datasheet does not know: the CLK pulse that loads a count comes at the very write, or rise of GATE, that asks
for it, and each counter's CLK has its phase from there.
"""

HZ = 1_193_182
SECOND = 10**9
REFRESH_CLOCKS = 18


class Counter8254:
    """One counter. "Figure" and the words in quotation marks are the datasheet's."""

    def __init__(self, *, gate: bool) -> None:
        """Begin as docs/DEVICES.md has it: a square wave of the longest period, of which one may write and read LSBs.

        "Prior to initialization, the mode, count, and output of all counters is undefined."
        """
        self.gate = gate
        self.word = 0x06  # RW, M and BCD, as the status shows them
        self.mode, self.access, self.bcd = 3, 1, False
        self.trigger = False  # the flip-flop that a rising edge of GATE sets
        self.cr = self.ce = 0
        self.odd = self.expired = False
        self.whole = self.loaded = True  # there is a whole count; it has been in the CE
        self.null_count = False
        self.out = True
        self.first: int | None = None  # the first byte of two
        self.latched: list[int] = []  # bytes of the OL that wait for their read
        self.status: int | None = None
        self.msb_next = False

    # -- the processor's side ------------------------------------------------------------------------------------------

    def control(self, word: int) -> None:
        """Take a control word: "all Control Logic is immediately reset and OUT goes to a known initial state"."""
        self.word = word & 0x3F
        self.mode = word >> 1 & 7
        if self.mode > 5:
            self.mode -= 4  # Figure 7: X10 and X11
        self.access, self.bcd = word >> 4 & 3, bool(word & 1)
        self.cr = 0
        self.whole = self.loaded = self.trigger = self.msb_next = False
        self.first = self.status = None
        self.latched = []
        self.null_count = True  # Figure 12, A
        self.out = self.mode != 0

    def write(self, byte: int) -> None:
        if self.access == 3 and self.first is None:
            self.first = byte
            if self.mode == 0:  # "Writing the first byte disables counting. OUT is set low immediately"
                self.whole = self.loaded = self.out = False
            return
        self.cr = {1: byte, 2: byte << 8, 3: byte << 8 | (self.first or 0)}[self.access]
        self.first = None
        self.whole = self.null_count = True  # Figure 12, B
        if self.mode == 0:
            self.out = False  # "OUT remains high until a new count ... is written"

    def read(self) -> int:
        if self.status is not None:  # "the first read operation ... will return latched status"
            status, self.status = self.status, None
            return status
        if self.latched:
            return self.latched.pop(0)
        if self.access == 3:
            self.msb_next = not self.msb_next
            return self.bytes_of_ce()[0 if self.msb_next else 1]
        return self.bytes_of_ce()[0]

    def latch_count(self) -> None:
        if not self.latched:  # "the second Counter Latch Command is ignored"
            self.latched = self.bytes_of_ce()

    def latch_status(self) -> None:
        if self.status is None:  # Figure 11
            self.status = (0x80 if self.out else 0) | (0x40 if self.null_count else 0) | self.word

    def bytes_of_ce(self) -> list[int]:
        lsb, msb = self.ce & 0xFF, self.ce >> 8
        return {1: [lsb], 2: [msb], 3: [lsb, msb]}[self.access]

    # -- the pins ------------------------------------------------------------------------------------------------------

    def set_gate(self, level: bool) -> None:
        if level and not self.gate:
            self.trigger = True  # "A rising edge of GATE (trigger) sets an edge-sensitive flip-flop"
        self.gate = level
        if not level and self.mode in {2, 3}:
            self.out = True  # "If GATE goes low while OUT is low, OUT is set high immediately"

    def will_load(self) -> bool:
        """Whether the next CLK pulse loads a count that is written or triggered, rather than counts."""
        if not self.whole:
            return False
        if self.mode in {0, 4}:
            return self.null_count
        if self.mode in {1, 5}:
            return self.trigger
        return self.trigger or not self.loaded

    def clk(self) -> None:
        """Take one CLK pulse."""
        loads = self.will_load()
        self.trigger = False  # "sampled on the next rising edge of CLK; the flip-flop is reset immediately after"
        if self.mode in {4, 5}:
            self.out = True  # "OUT will go low for one CLK pulse and will then go high again"
        if loads:  # "This CLK pulse does not decrement the count"
            self.load()
            self.loaded, self.expired = True, False
            self.out = self.mode not in {0, 1}
        elif not self.loaded:
            pass
        elif self.mode in {1, 5} or self.gate:  # Figure 21
            self.count()

    def count(self) -> None:
        if self.mode == 2:
            if self.ce == 1:
                self.load()
                self.out = True
            else:
                self.decrement(1)
                self.out = self.ce != 1  # "When the initial count has decremented to 1, OUT goes low"
        elif self.mode == 3:
            # Even: reloaded when two are left. Odd: "one CLK pulse after the count expires" while OUT is high.
            if self.ce == (0 if self.odd and self.out else 2):
                self.load()
                self.out = not self.out
            else:
                self.decrement(2)
        else:
            self.decrement(1)
            if self.ce == 0 and not self.expired:
                self.expired = True
                self.out = self.mode in {0, 1}

    def load(self) -> None:
        self.ce = self.cr
        self.odd = self.mode == 3 and self.cr % 2 == 1
        if self.odd:
            self.ce -= 1  # "the initial count minus one (an even number) is loaded"
        self.null_count = False  # Figure 12, C

    def decrement(self, by: int) -> None:
        """Count down; "the Counter wraps around to the highest count, either FFFF hex ... or 9999"."""
        if self.bcd:
            self.ce = int(str((int(f"{self.ce:x}") - by) % 10_000), 16)
        else:
            self.ce = (self.ce - by) % 0x1_0000


class Timer8254:
    """Three counters as a PC wires them, with port 61h. GATE of counters 0 and 1 is high."""

    def __init__(self) -> None:
        self.counters = [Counter8254(gate=True), Counter8254(gate=True), Counter8254(gate=False)]
        self.starts = [0, 0, 0]
        self.pulses = [0, 0, 0]  # CLK pulses since then
        self.now = 0
        self.port_b = 0
        self.is_programmed = False  # counter 0 has had a control word; its line is low until then
        self.line = False
        self.edges: list[tuple[int, bool]] = []

    def moment(self, counter: int, clock: int) -> int:
        """Return the first nanosecond at which so many clocks have passed since the counter's start."""
        time = self.starts[counter] + clock * SECOND // HZ
        while (time - self.starts[counter]) * HZ // SECOND < clock:
            time += 1
        return time

    def run(self, until: int) -> None:
        for number, counter in enumerate(self.counters):
            due = (until - self.starts[number]) * HZ // SECOND
            while counter.loaded and self.pulses[number] < due:
                self.pulses[number] += 1
                before = counter.out
                counter.clk()
                if not number and counter.out is not before:
                    self.drive(self.moment(0, self.pulses[0]))
            self.pulses[number] = due
        self.now = until

    def drive(self, time: int) -> None:
        level = self.is_programmed and self.counters[0].out
        if level is not self.line:
            self.line = level
            self.edges.append((time, level))

    def outb(self, port: int, value: int) -> None:
        if port == 0x43:
            self.control(value)
        elif port == 0x61:
            self.port_b = value & 0x0F
            self.counters[2].set_gate(bool(value & 1))
        else:
            self.counters[port & 3].write(value)
        for number, counter in enumerate(self.counters):
            if counter.will_load():  # the convention: the pulse that loads comes now, and the phase begins here
                counter.clk()
                self.starts[number], self.pulses[number] = self.now, 0
            counter.trigger = False
        self.drive(self.now)

    def control(self, value: int) -> None:
        select = value >> 6
        if select == 3:  # Figure 10
            for number, counter in enumerate(self.counters):
                if value & 2 << number:
                    if not value & 0x20:
                        counter.latch_count()
                    if not value & 0x10:
                        counter.latch_status()
        elif not value & 0x30:
            self.counters[select].latch_count()
        else:
            self.counters[select].control(value)
            self.is_programmed = self.is_programmed or not select

    def inb(self, port: int) -> int:
        if port == 0x43:
            return 0xFF
        if port == 0x61:
            refresh = self.now * HZ // SECOND // REFRESH_CLOCKS % 2
            return self.port_b | refresh << 4 | self.counters[2].out << 5
        return self.counters[port & 3].read()
