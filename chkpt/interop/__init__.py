"""Talking with other systems: QEMU's qtest protocol, and conversations recorded in it."""
