"""What `chkpt demo` shows: the two stories, and the processes that act in them."""
