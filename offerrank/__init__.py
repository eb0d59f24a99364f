"""The command line and the start-up of all processes."""
