"""The cases that every client executes against real servers, and what judges them."""
