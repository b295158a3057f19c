"""The benchmark kit: what Perdure adds to a bare loop over the same model and tools, measured in one interleaved run.

Processes: the scripted model, `perdure serve` with its embedded Temporal, and this one, which is the load client and,
in its turns, the bare loop (bench.bare). Nothing but loopback is used, and nothing is left behind.
"""
