"""Property tests look afresh each time, leave no files, and take the time that a busy machine needs."""

from hypothesis import settings

settings.register_profile("perdure", deadline=None, database=None)
settings.load_profile("perdure")
