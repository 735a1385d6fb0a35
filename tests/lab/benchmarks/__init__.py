"""What chkpt costs, each figure beside its baseline and its target. Run by `make bench`; nothing here asserts."""
