"""How fast, beside what the wire alone costs."""
