"""Built-in backends: what is behind a drive or a serial port."""
