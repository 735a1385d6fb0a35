"""The built-in devices: one datasheet, one file. They use only the contract in `chkpt.device`."""
