"""The run loop of a machine, its pace, and the goals that end a run."""
