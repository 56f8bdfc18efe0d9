"""Check the results and write their table to this folder's README: ``python -m benchmarks.results``.

Exit code 1 if a file is wrong.
"""

from __future__ import annotations

import sys

from benchmarks.results import FOLDER, problems, read_all, refreshed


def main() -> int:
    """Check each file, then rewrite the table."""
    results = read_all()
    wrong = [f"{document['benchmark']}: {problem}" for document in results for problem in problems(document)]
    readme = FOLDER / "README.md"
    readme.write_text(refreshed(readme.read_text(encoding="utf-8"), results), encoding="utf-8")
    print("\n".join(wrong) or f"{len(results)} results, each follows from its rows")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
