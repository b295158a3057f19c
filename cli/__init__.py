"""The `perdure` command, and the Temporal server that it brings along."""
