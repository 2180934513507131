"""The typed event bus, and what feeds it and drains it: outbox → bus → table."""
