"""The deterministic room: the session's workflow and the options of its activities."""
