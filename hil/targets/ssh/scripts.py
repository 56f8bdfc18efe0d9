"""Constant POSIX sh scripts that run on the remote machine; variable parts are passed as arguments.

They contain only characters that every login shell passes on unchanged within single quotes.
"""

from __future__ import annotations

from hil.targets.ssh.remote_process import PRINT_GROUP

DAMAGED, REFUSED, ABSENT = 93, 94, 97
"""Exit codes: the upload arrived damaged; the store could not be written; the archive is missing or damaged."""

LOCATE = (
    "umask 077; S=$1 D=$2 P=$3; shift 3; "
    "case ${XDG_CACHE_HOME:-} in /*) C=$XDG_CACHE_HOME;; *) C=$HOME/.cache;; esac; "
    'case $S in "") S=$C/pytest-hil/store;; "~/"*) S=$HOME/${S#"~/"};; esac; '
    'case $P in "~/"*) P=$HOME/${P#"~/"};; esac; '
    "A=$S/agents/agent-$D.pyz; "
)
"""``$1``: the store, empty for the default; ``$2``: the archive's SHA-256; ``$3``: the interpreter. Sets ``$A``, the
archive's path."""

HASH = (
    "H() { if command -v sha256sum >/dev/null 2>&1; then sha256sum | cut -c1-64; "
    'else "$P" -c "import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())"; fi; }; '
)

START = (
    LOCATE
    + HASH
    + f'[ -f "$A" ] && [ "$(H <"$A")" = "$D" ] || exit {ABSENT}; '
    + PRINT_GROUP
    + 'exec "$P" -B "$A" --store "$S" "$@"'
)
"""Starts the agent with the remaining arguments. The user's site packages stay enabled: many users need them."""

UPLOAD = (
    LOCATE
    + HASH
    + "LC_ALL=C; export LC_ALL; "
    + PRINT_GROUP
    + f'mkdir -p -- "$S/agents" || exit {REFUSED}; '
    # Deletes leftovers of a machine switched off during an upload; no upload of the archive takes an hour.
    + 'find "$S/agents" -name ".agent-*" -mmin +60 -exec rm -f -- "{}" + 2>/dev/null; '
    + 'T=$S/agents/.agent-$D.$$; R() { rm -f -- "$T"; }; trap R EXIT; trap "exit 92" HUP INT TERM PIPE; set -C; '
    + f'cat >"$T" || exit {REFUSED}; '
    + f'[ "$(H <"$T")" = "$D" ] || exit {DAMAGED}; '
    + f'mv -f -- "$T" "$A" || exit {REFUSED}'
)
"""Reads the archive from stdin into a temporary file, verifies its hash and renames it; deletes the file on error."""

INSPECT = (
    LOCATE
    + 'F=$(command -v -- "$P" || echo "$P"); X=no; [ -e "$F" ] && X=there; [ -x "$F" ] && X=runs; '
    + 'V=$("$P" -c "import sys; print(str(sys.version_info[0]) + chr(46) + str(sys.version_info[1]))" 2>/dev/null); '
    + 'echo; echo "hil-inspect state $X"; echo "hil-inspect path $F"; echo "hil-inspect machine $(uname -m)"; '
    + 'echo "hil-inspect version $V"; '
    + 'echo "hil-inspect head $(head -c 20 -- "$F" 2>/dev/null | od -An -v -tx1 | tr -dc 0-9a-f)"'
)
"""Prints facts about the interpreter, on lines that begin with ``hil-inspect``. They explain why no agent started."""
