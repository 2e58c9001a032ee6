"""The command line: flags for settings, and how a command starts and ends."""
