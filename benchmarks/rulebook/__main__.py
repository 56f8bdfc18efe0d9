"""Check that no judge of a report is weaker than another: ``python -m benchmarks.rulebook [--quick] [--seed N]``.

Reports with random faults are judged under random policies and random later circumstances by the run, ``hil gate``,
``hil verify``, ``hil attest`` and ``hil deploy``, each through the functions of its command. A judge is weaker if it
accepts a report that the rulebook rejects, or does not name a broken rule. Some reports claim a decision that a weaker
run would have recorded. Finally each rule is removed from each judge in turn, which must be detected.
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
"""The number of reports that every judge must accept: without any, the figure would prove nothing."""


def main() -> int:
    """Judge, print, and return 1 if the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer reports for each removed rule")
    parser.add_argument("--seed", type=int, help="the seed of the random reports (default: a new one)")
    arguments = parser.parse_args()
    seed = random.SystemRandom().randrange(2**32) if arguments.seed is None else arguments.seed
    return report(seed, CASES, ATTEMPTS_QUICK if arguments.quick else ATTEMPTS)


def report(seed: int, count: int, attempts: int) -> int:
    """Judge ``count`` random reports and print the results; each removal is tried on at most ``attempts``."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = judges.Workspace(Path(folder))
        made = [workspace.place(case) for case in cases.draw(random.Random(seed), count)]  # noqa: S311 - no secret
        weaker, good = compare(made)
        removed = {pair: detected(made, *pair, attempts) for pair in judges.pairs(made)}
    missing = [pair for pair in judges.needed() if pair not in removed]
    print(f"{count} reports, seed {seed}; {good} pass everywhere")
    for line in weaker:
        print(f"WEAKER: {line}")
    print(f"{'removed rule':<24}" + "".join(f"{judge:>8}" for judge in judges.JUDGES))
    for rule in dict.fromkeys(rule for _, rule in removed):
        cells = (removed.get((judge, rule), "–") for judge in judges.JUDGES)
        print(f"{rule:<24}" + "".join(f"{cell:>8}" for cell in cells))
    unnoticed = [*missing, *(pair for pair, number in removed.items() if not number)]
    for judge, rule in unnoticed:
        print(f"UNNOTICED: {rule} removed from {judge}")
    held = not weaker and not unnoticed and good >= HEALTHY
    removals = f"{len(removed) - len(unnoticed) + len(missing)} of {len({*removed, *missing})} removals detected"
    print(f"rulebook: {len(weaker)} weaker judgements, at most 0; {removals}, all: {'held' if held else 'MISSED'}")
    return 0 if held else 1


def compare(made: Iterable[judges.Placed]) -> tuple[list[str], int]:
    """Return each judgement that was weaker, and the number of reports that every judge accepted."""
    weaker: list[str] = []
    good = 0
    for placed in made:
        opinions = {judge: placed.opinion_of(judge) for judge in judges.JUDGES}
        for judge, opinion in opinions.items():
            if why := placed.weakness(judge, opinion):
                weaker.append(f"{judge}, {placed.case}: {why}")
        # A later judge only gets reports that the earlier one accepted, and must not accept more.
        order = [judge for judge in judges.JUDGES if opinions[judge].accepted]
        if "run" not in order and order and not placed.case.asked:
            weaker.append(f"{', '.join(order)}, {placed.case}: accepts a report that the run rejected")
        good += order == list(judges.JUDGES)
    return weaker, good


def detected(made: Iterable[judges.Placed], judge: str, rule: str, attempts: int) -> int:
    """Return in how many reports ``judge`` is weaker without ``rule``; at most ``attempts`` that break it are tried."""
    # A report whose claims contradict its rows is rejected by every judge when it is read, before any rule.
    deciding = [placed for placed in made if rule in placed.broken(judge) and not placed.case.claims]
    tried = sorted(deciding, key=lambda placed: len(placed.broken(judge)))[:attempts]
    return sum(bool(placed.weakness(judge, placed.opinion_of(judge, without=rule))) for placed in tried)


if __name__ == "__main__":
    sys.exit(main())
