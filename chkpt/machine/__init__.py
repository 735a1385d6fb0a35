"""Machines: clock, ports, memory, interrupt lines, devices and backends, assembled from a configuration."""

from chkpt.machine.config import MachineConfig
from chkpt.machine.machine import Machine

__all__ = ["Machine", "MachineConfig"]
