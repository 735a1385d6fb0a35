"""Experiments that take long: a live QEMU, faults, fuzzing, mutants, benchmarks. Each has its make target."""
