"""Jobs: commands that run on after the call that started them (`exec` with `background`), until their session ends."""


class Jobs:
    """The running jobs of a worker's sessions."""
