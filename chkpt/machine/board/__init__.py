"""What devices and the processor are connected to: ports, lines, memory, clock, A20, MSRs."""
