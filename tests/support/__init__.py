"""What tests of more than one folder share: machines, devices, files, processes. Nothing here is a test."""
