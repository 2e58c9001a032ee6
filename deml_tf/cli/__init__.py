"""The command line: flags of settings, how a command starts and ends."""
