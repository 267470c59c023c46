#!/bin/sh
# Install pinned packages; when that fails, say in one line what is wrong. pip's own words, often
# hundreds of lines, are in install.log of the environment.
# Usage: install.sh PYTHON ARGUMENTS-OF-PIP-INSTALL
set -eu

python=$1
shift
log=$(dirname "$(dirname "$python")")/install.log
attempts=3

said() { grep -iE "$1" "$log" | tail -n 1 | sed 's/^ *//; s/^ERROR: //' | cut -c 1-160; }

install() {
	"$python" -m pip install --disable-pip-version-check --progress-bar off \
		--constraint constraints.txt "$@" >"$log" 2>&1
}

# Older pips do not try again when a download breaks off in the middle.
attempt=1
until install "$@"; do
	broken=$(said 'ConnectionError|Connection (broken|reset|refused|aborted)|NewConnectionError|NameResolution|timed out|IncompleteRead|incomplete-download|enough bytes|ProtocolError|ProxyError|SSLError|HTTP error|BadZipFile|NOT MATCH THE HASHES')
	if [ -n "$broken" ] && [ "$attempt" -lt "$attempts" ]; then
		attempt=$((attempt + 1))
		continue
	fi
	version=$("$python" -c 'import platform; print(platform.python_version(), "on", platform.machine())')
	missing=$(said 'No matching distribution found|The user requested \(constraint\)')
	if [ -n "$(said 'No space left on device')" ]; then
		why="The disk is full; about 7 GB are needed, 3 GB with torch for processors only."
	elif [ -n "$broken" ]; then
		why="A download broke off ($broken). Check the network or the proxy, and run the same command again."
	elif [ -n "$missing" ]; then
		why="A pinned package is not to be had ($missing) for Python $version. Choose another Python: make PYTHON=python3.12 …"
	else
		why="pip failed ($(said '^ *(ERROR|error):|Error'))."
	fi
	echo "$why Details: $log" >&2
	exit 1
done
