"""Checkpoint and restore for emulated machines."""
