"""Coverage-guided fuzzing of everything that a hostile snapshot reaches: the reader, the commands, every `load`.

`make fuzz` runs it with atheris, which only this needs. `targets.py` and what it stands on do without: a target is a
function of bytes, which the tests give the inputs kept in `corpus.zip` to (tests/fuzz).

| file | what |
|---|---|
| `targets.py` | the targets by name: what is done with an input, and that nothing but chkpt's own errors comes of it |
| `snapshots.py` | an input as a snapshot file whose digests hold, so that the fuzzer gets behind them |
| `draws.py`, `states.py` | an input as a state within its declared ranges, or nearly so |
| `trees.py` | changes of an input that keep it msgpack |
| `launch.py` | one target with atheris, in a process of its own |
| `corpus.py` | the kept inputs |
| `results.py` | what a run was, of which code, and what came of it |
"""
