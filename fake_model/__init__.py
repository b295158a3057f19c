"""A strict fake of Anthropic's Messages API over real HTTP, for the tests, the benchmarks and `perdure demo`.

It plays scripts (fake_model.scripts), refuses what the real API refuses (fake_model.strict), fails on demand
(fake_model.faults), bills like the real one and keeps a log of what was asked. It imports no other room.
"""
