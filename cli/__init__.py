"""The `ooml` command, and the servers and stores it starts on this machine."""
