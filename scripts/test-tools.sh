#!/bin/sh
# Debian and Ubuntu: what some tests need and a user does not: Orthanc, a PACS to test with,
# dciodvfy, which knows the rules of DICOM, and sshd, another computer on this one. They are
# downloaded and unpacked into .venv, not installed: that needs no root, and no PACS is left
# running as a service. Where that cannot be done, those tests are skipped.
# Usage: test-tools.sh VENV
set -eu

venv=${1:-.venv}
packages="orthanc orthanc-dicomweb dicom3tools openssh-server"

has() { command -v "$1" >/dev/null 2>&1; }
plugin=/usr/share/orthanc/plugins/libOrthancDicomWeb.so
if has Orthanc && has dciodvfy && has sshd && [ -e "$plugin" ]; then exit 0; fi
[ "$(cat "$venv/debian/complete" 2>/dev/null)" != "$packages" ] || exit 0
has apt-get && has dpkg-deb || exit 0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/debs/partial"
download() {
	# With all that they need and is not installed. Without root there is no lock to hold.
	# shellcheck disable=SC2086  # one word a package
	apt-get install --yes -qq --download-only --no-install-recommends \
		-o Debug::NoLocking=1 -o APT::Sandbox::User=root -o Dir::Cache::archives="$work/debs" \
		$packages >"$work/log" 2>&1
}
echo "Fetching Orthanc, dciodvfy and sshd for the tests"
if ! download && ! { apt-get update -qq >"$work/log" 2>&1 && download; }; then
	echo "They could not be fetched ($(tail -n 1 "$work/log")). Tests that need them are skipped." >&2
	exit 0
fi

root=$venv/debian
rm -rf "$root"
mkdir -p "$root"
for package in "$work"/debs/*.deb; do dpkg-deb --extract "$package" "$root"; done
root=$(cd "$root" && pwd)

# Each program finds its libraries, and DCMTK's names of DICOM's attributes, where they lie.
for program in usr/sbin/Orthanc usr/bin/dciodvfy usr/sbin/sshd; do
	[ -e "$root/$program" ] || continue
	cat >"$venv/bin/${program##*/}" <<END
#!/bin/sh
for folder in "$root"/usr/lib/*-linux-gnu "$root"/lib/*-linux-gnu; do
	LD_LIBRARY_PATH="\${LD_LIBRARY_PATH:+\$LD_LIBRARY_PATH:}\$folder"
done
for names in "$root"/usr/share/libdcmtk*/dicom.dic; do
	if [ -e "\$names" ]; then DCMDICTPATH=\$names; export DCMDICTPATH; fi
done
export LD_LIBRARY_PATH
exec "$root/$program" "\$@"
END
	chmod +x "$venv/bin/${program##*/}"
done
echo "$packages" >"$root/complete"
