"""Whether any judge is weaker than another: ``python -m benchmarks.rulebook [--quick] [--seed N]``.

Reports with random faults are judged by random policies in random later circumstances: by the run, ``hil gate``, ``hil
verify``, ``hil attest`` and ``hil deploy``, each through the functions of its command. A judge is weaker where it lets
through what the rulebook refuses, or does not name a rule that is broken. Some reports claim a decision that a weaker
run would have recorded. Then each rule is taken out of one judge in turn, which must be noticed.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.rulebook import cases, judges

if TYPE_CHECKING:
    from collections.abc import Iterable

CASES, ATTEMPTS, ATTEMPTS_QUICK = 200, 20, 2
HEALTHY = 5
"""Reports that every judge lets through: with none the figure would mean nothing."""


def main() -> int:
    """Judges, prints, and returns 1 where the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer reports with each rule taken out")
    parser.add_argument("--seed", type=int, help="of the random reports (default: a fresh one)")
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(2**32) if given.seed is None else given.seed
    return report(seed, CASES, ATTEMPTS_QUICK if given.quick else ATTEMPTS)


def report(seed: int, count: int, attempts: int) -> int:
    """Judges ``count`` random reports and prints what came of it; each removal is tried on ``attempts`` of them."""
    with tempfile.TemporaryDirectory() as folder:
        bench = judges.Bench(Path(folder))
        made = [bench.place(case) for case in cases.draw(random.Random(seed), count)]  # noqa: S311 - no secret
        weaker, good = compare(made)
        removed = {pair: noticed(made, *pair, attempts) for pair in judges.pairs(made)}
    missing = [pair for pair in judges.needed() if pair not in removed]
    print(f"{count} reports, seed {seed}; {good} pass everywhere")
    for line in weaker:
        print(f"WEAKER: {line}")
    print(f"{'rule taken out':<24}" + "".join(f"{judge:>8}" for judge in judges.JUDGES))
    for rule in dict.fromkeys(rule for _, rule in removed):
        cells = (removed.get((judge, rule), "–") for judge in judges.JUDGES)
        print(f"{rule:<24}" + "".join(f"{cell:>8}" for cell in cells))
    unnoticed = [*missing, *(pair for pair, number in removed.items() if not number)]
    for judge, rule in unnoticed:
        print(f"UNNOTICED: {rule} taken out of {judge}")
    held = not weaker and not unnoticed and good >= HEALTHY
    removals = f"{len(removed) - len(unnoticed) + len(missing)} of {len({*removed, *missing})} removals noticed"
    print(f"rulebook: {len(weaker)} weaker judgements, at most 0; {removals}, all: {'held' if held else 'MISSED'}")
    return 0 if held else 1


def compare(made: Iterable[judges.Placed]) -> tuple[list[str], int]:
    """Each judgement that was weaker, and how many reports every judge lets through."""
    weaker: list[str] = []
    good = 0
    for placed in made:
        found = {judge: placed.judged(judge) for judge in judges.JUDGES}
        for judge, opinion in found.items():
            if why := placed.weakness(judge, opinion):
                weaker.append(f"{judge}, {placed.case}: {why}")
        # Whoever judges later judges what the earlier one let through; nobody later lets through more.
        order = [judge for judge in judges.JUDGES if found[judge].accepted]
        if "run" not in order and order and not placed.case.asked:
            weaker.append(f"{', '.join(order)}, {placed.case}: the run refused it")
        good += order == list(judges.JUDGES)
    return weaker, good


def noticed(made: Iterable[judges.Placed], judge: str, rule: str, attempts: int) -> int:
    """How many judgements of ``judge`` are weaker with ``rule`` taken out of it, of ``attempts`` that it decides."""
    # A report that claims what it does not hold is refused by everybody when it is read, before any rule.
    deciding = [placed for placed in made if rule in placed.broken(judge) and not placed.case.claims]
    tried = sorted(deciding, key=lambda placed: len(placed.broken(judge)))[:attempts]
    return sum(bool(placed.weakness(judge, placed.judged(judge, without=rule))) for placed in tried)


if __name__ == "__main__":
    sys.exit(main())
