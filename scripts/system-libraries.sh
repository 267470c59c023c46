#!/bin/sh
# Debian and Ubuntu: install the system libraries that Qt and OpenGL need, and any packages named,
# when some are missing. As root it installs them; otherwise it prints the line to run.
# Usage: system-libraries.sh PYTHON [PACKAGE...]
set -eu

command -v dpkg-query >/dev/null 2>&1 && command -v apt-get >/dev/null 2>&1 || exit 0

python=${1:-python3}
[ $# -eq 0 ] || shift

# What PyQt6's xcb plugin links to (ldd libqxcb.so), and OpenGL in software.
needed="libdbus-1-3 libegl1 libfontconfig1 libfreetype6 libgl1 libgl1-mesa-dri libglib2.0-0
libx11-xcb1 libxcb-cursor0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-randr0
libxcb-render-util0 libxcb-render0 libxcb-shape0 libxcb-shm0 libxcb-sync1 libxcb-xfixes0
libxcb-xkb1 libxkbcommon-x11-0 $*"

# Debian keeps a part of Python, which `python3 -m venv` needs, in a package of its own.
"$python" -c 'import ensurepip' 2>/dev/null || needed="$needed python3-venv"

# Names a package provides count too: libglib2.0-0 is libglib2.0-0t64 on newer releases.
installed=$(dpkg-query --show --showformat='${db:Status-Abbrev}|${Package}, ${Provides}\n' |
	sed -n 's/^ii *|//p' | tr ',' '\n' | sed 's/ *(.*//; s/ //g')

missing=""
for name in $needed; do
	printf '%s\n' "$installed" | grep -qxF "$name" || missing="$missing $name"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
	printf 'Some system libraries are missing. Run this line, then the same make command again:\n\n' >&2
	printf '  sudo apt-get install --no-install-recommends%s\n\n' "$missing" >&2
	exit 1
fi

echo "Installing system libraries:$missing"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
install() {
	# shellcheck disable=SC2086  # one word a package
	apt-get install --yes -qq --no-install-recommends $missing >"$log" 2>&1
}
# Package lists may be missing or out of date on a fresh machine: fetch them only then.
install || { apt-get update -qq >"$log" 2>&1 && install; } || { cat "$log" >&2; exit 1; }
