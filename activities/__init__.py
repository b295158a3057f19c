"""Effects: the model call, the tool call, recording the end. Nothing is imported here."""
