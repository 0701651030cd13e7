#!/bin/sh
# Fetch the pinned uv into a directory, its hashes checked, with the pip at hand: this Python's own, one
# that ensurepip makes, or the wheel in Debian's package. Arguments: the Python, the directory.
set -eu
python=$1 target=$2
pins=$(dirname "$0")/uv.txt
work=$target.new
rm -rf "$work"
mkdir -p "$work"

if "$python" -m pip --version >/dev/null 2>&1; then
    set -- "$python"
elif "$python" -m venv "$work/pip" >/dev/null 2>&1; then
    set -- "$work/pip/bin/python"
elif (cd "$work" && apt-get download -qq python3-pip-whl >/dev/null && dpkg-deb -x ./*.deb pip) 2>/dev/null; then
    set -- env PYTHONPATH="$(ls "$work"/pip/usr/share/python-wheels/pip-*.whl)" "$python"
else
    echo "There is no pip: install your system's package of it (Debian: python3-pip or python3-venv)." >&2
    exit 1
fi

"$@" -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: \
    --root-user-action ignore --require-hashes --requirement "$pins" --target "$work/uv"
rm -rf "$target"
mv "$work/uv" "$target"
# pip's index becomes uv's, where one is configured; the answer stays in the ignored cache.
"$@" -m pip config get global.index-url >"$target/index" 2>/dev/null || : >"$target/index"
rm -rf "$work"
