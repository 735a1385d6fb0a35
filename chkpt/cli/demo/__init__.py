"""The two demos of `chkpt demo`, and the processes that they run."""
