"""A live QEMU beside us: new random conversations with both, every answer compared. Run by `make oracle`.

A conversation begins with both machines at power-on. A generator that knows no state (`phrases/`) says what to send, a
filter (`ground.py`) keeps it to what can be compared, and every answer that differs must be explained, bit by bit, by a
rule that names the reason (`rules.py`). One that no rule explains fails the run, and is printed as a trace, shortened.
"""
