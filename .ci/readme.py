"""Print a set-up command of the README unchanged: ``python3 .ci/readme.py "main job"`` or ``… "tests"``.

The README holds exactly two, each in the fenced block after ``<!-- setup: NAME -->``. Continuous integration runs the
printed commands, because newcomers copy them. This script uses only the standard library: it runs before anything is
installed.
"""

import re
import sys
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"
NAMES = ("main job", "tests")
MARKER = re.compile(r"^<!-- setup: (?P<name>[^>]*?) -->$", re.MULTILINE)
BLOCK = re.compile(r"\s*^```(?:bash|console|sh|shell)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def commands(text: str) -> dict[str, str]:
    """Return the set-up commands by name, without prompts. Raise ``ValueError`` unless they are exactly ``NAMES``."""
    found = {}
    for marker in MARKER.finditer(text):
        block = BLOCK.match(text, marker.end())
        if block is None:
            raise ValueError(f"no fenced bash or console block follows <!-- setup: {marker['name']} -->")
        lines = (line.removeprefix("$ ").rstrip() for line in block["text"].splitlines())
        if marker["name"] in found:
            raise ValueError(f"there are two blocks <!-- setup: {marker['name']} -->")
        found[marker["name"]] = "\n".join(filter(None, lines))
    if sorted(found) != sorted(NAMES) or not all(found.values()):
        raise ValueError(f"the README holds {sorted(found)} and must hold exactly {sorted(NAMES)}, none of them empty")
    return found


if __name__ == "__main__":
    try:
        print(commands(README.read_text(encoding="utf-8"))[sys.argv[1]])
    except (OSError, ValueError, LookupError) as error:
        sys.exit(f"set-up commands of {README.name}: {error}")
