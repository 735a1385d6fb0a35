"""A machine that runs by itself: the run loop, its pace, and where it ends."""
