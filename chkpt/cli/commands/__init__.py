"""The commands, one a file; `chkpt.cli.COMMANDS` names them."""
