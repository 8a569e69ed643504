#!/bin/bash
# Installs the packages of Debian whose command or file isn't there:
#
#   e2e/namespaces/packages.sh COMMAND-OR-FILE:PACKAGE...
#
# Where it can't, it says what is missing and ends with 77.
set -euo pipefail
say() { printf '%s\n' "packages: $*" >&2; }

packages=''
for pair in "$@"; do
  command -v "${pair%%:*}" >/dev/null || [ -f "${pair%%:*}" ] || packages="$packages ${pair#*:}"
done
[ -n "$packages" ] || exit 0
command -v apt-get >/dev/null || { say "can't run here: missing, under their names in Debian:$packages"; exit 77; }
say "installing with apt-get:$packages"
# shellcheck disable=SC2086 # a list of words
{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages; } >/dev/null ||
  { say "can't run here: apt-get could not install$packages"; exit 77; }
