"""QEMU's qtest protocol, and conversations recorded in it."""
