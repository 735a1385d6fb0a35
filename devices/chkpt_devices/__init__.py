"""The built-in devices: one datasheet, one folder or file. They use only the contract in `chkpt.device`."""
