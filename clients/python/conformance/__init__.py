"""Executes the cases of clients/conformance with this client, and judges nothing."""
