"""The decision store: one contract, run on memory, Valkey, Redis and a cluster; then what is Redis alone."""
