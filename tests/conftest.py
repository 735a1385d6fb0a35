from hypothesis import settings

# A machine that is busy with something else must not fail a test: what hangs is ended by pytest-timeout.
settings.register_profile("chkpt", deadline=None)
settings.load_profile("chkpt")
