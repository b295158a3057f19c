"""`python -m tests.survival.chaos --seeds 1,2,3 --sessions 300 --faults 60`: sessions on a cluster whose parts are
killed, stopped and cut off from each other by a seed; then every promise is checked from outside. Exit 1 if one broke.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.survival.chaos_run import run_seed, table
from tests.survival.chaos_verdict import Outcome

SHOWN = 8


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.survival.chaos", description=__doc__)
    parser.add_argument("--seeds", default="1,2,3", help="one run each")
    parser.add_argument("--sessions", type=int, default=300, help="in all")
    parser.add_argument("--faults", type=int, default=60, help="in all")
    parser.add_argument("--only", default="", help="faults whose name has this, such as 'kill' or 'postgres'")
    parser.add_argument("--keep", type=Path, help="a folder for data and logs, kept afterwards")
    options = parser.parse_args()
    seeds = [int(seed) for seed in options.seeds.split(",")]
    outcomes: dict[str, Outcome] = {}
    for seed in seeds:
        with tempfile.TemporaryDirectory(prefix="perdure-chaos-", ignore_cleanup_errors=True) as scratch:
            folder = options.keep / f"seed-{seed}" if options.keep else Path(scratch)
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            sessions, faults = -(-options.sessions // len(seeds)), -(-options.faults // len(seeds))
            outcome = asyncio.run(run_seed(folder, seed=seed, sessions=sessions, faults=faults, only=options.only))
        outcomes[str(seed)] = outcome
        tell(seed, outcome)
    print(table(outcomes))
    return 0 if all(outcome.is_good for outcome in outcomes.values()) else 1


def tell(seed: int, outcome: Outcome) -> None:
    """What a seed did, and each thing that is not as it should be."""
    kinds = Counter(name.split()[0] for name in outcome.faults.elements())
    print(
        f"seed {seed}: {outcome.seconds:.0f} s; faults: {', '.join(f'{n} {kind}' for kind, n in kinds.most_common())}"
    )
    print(f"  in detail: {'; '.join(sorted(outcome.faults.elements()))}")
    print(f"  sessions ended as {dict(outcome.tally.reasons)}; workflows {dict(outcome.statuses)}")
    print(f"  calls came to {dict(outcome.tally.outcomes)}; the logs have {dict(outcome.said)}")
    for line in outcome.ended_alone:
        print(f"  ENDED BY ITSELF  {line}")
    for row, sentences in outcome.tally.wrong.items():
        for sentence in sentences[:SHOWN]:
            print(f"  WRONG  {row}: {sentence}")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
