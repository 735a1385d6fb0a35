"""The built-in devices: one folder or file for each. They use only the contract in `chkpt.device`."""
