"""The shell scripts that run on the far machine: constant, for POSIX sh, what varies comes as their arguments.

They reach sh through whatever login shell the account has, so they have no single quote, backslash, newline or
exclamation mark: within single quotes such a text means itself in bash, dash, zsh, fish and tcsh alike.
"""

from __future__ import annotations

from hil.targets.ssh.remote_process import TELL

DAMAGED, REFUSED, ABSENT = 93, 94, 97
"""Exit codes: the upload is not what was sent; the store could not be written; no archive, or a damaged one."""

LOCATE = (
    "umask 077; S=$1 D=$2 P=$3; shift 3; "
    "case ${XDG_CACHE_HOME:-} in /*) C=$XDG_CACHE_HOME;; *) C=$HOME/.cache;; esac; "
    'case $S in "") S=$C/pytest-hil/store;; "~/"*) S=$HOME/${S#"~/"};; esac; '
    'case $P in "~/"*) P=$HOME/${P#"~/"};; esac; '
    "A=$S/agents/agent-$D.pyz; "
)
"""``$1`` store, empty for the usual one; ``$2`` the archive's SHA-256; ``$3`` the interpreter. ``$A`` is its path."""

HASH = (
    "H() { if command -v sha256sum >/dev/null 2>&1; then sha256sum | cut -c1-64; "
    'else "$P" -c "import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())"; fi; }; '
)

START = (
    LOCATE
    + HASH
    + f'[ -f "$A" ] && [ "$(H <"$A")" = "$D" ] || exit {ABSENT}; '
    + TELL
    + 'exec "$P" -B "$A" --store "$S" "$@"'
)
"""Starts the agent with the arguments that follow. The user's site packages stay visible: there people install."""

UPLOAD = (
    LOCATE
    + HASH
    + "LC_ALL=C; export LC_ALL; "
    + TELL
    + f'mkdir -p -- "$S/agents" || exit {REFUSED}; '
    # What a machine left that was switched off in the middle; nobody uploads an archive for an hour.
    + 'find "$S/agents" -name ".agent-*" -mmin +60 -exec rm -f -- "{}" + 2>/dev/null; '
    + 'T=$S/agents/.agent-$D.$$; R() { rm -f -- "$T"; }; trap R EXIT; trap "exit 92" HUP INT TERM PIPE; set -C; '
    + f'cat >"$T" || exit {REFUSED}; '
    + f'[ "$(H <"$T")" = "$D" ] || exit {DAMAGED}; '
    + f'mv -f -- "$T" "$A" || exit {REFUSED}'
)
"""Takes the archive from standard input: into a file of another name, hashed, then renamed; else nothing is left."""

LOOK = (
    LOCATE
    + 'F=$(command -v -- "$P" || echo "$P"); X=no; [ -e "$F" ] && X=there; [ -x "$F" ] && X=runs; '
    + 'V=$("$P" -c "import sys; print(str(sys.version_info[0]) + chr(46) + str(sys.version_info[1]))" 2>/dev/null); '
    + 'echo; echo "hil-look state $X"; echo "hil-look path $F"; echo "hil-look machine $(uname -m)"; '
    + 'echo "hil-look version $V"; '
    + 'echo "hil-look head $(head -c 20 -- "$F" 2>/dev/null | od -An -v -tx1 | tr -dc 0-9a-f)"'
)
"""Facts of the interpreter, for telling why no agent started; each on a line that begins with ``hil-look``."""
