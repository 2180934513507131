"""Generated from protos/ooml/bandit/v1; `make gen` writes it anew."""
