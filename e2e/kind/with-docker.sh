#!/bin/bash
# Runs a command beside a docker engine of its own, in private namespaces of this machine, and leaves nothing of it behind:
#
#   e2e/kind/with-docker.sh COMMAND [ARGUMENT...]
#
# There is no way to any registry in there: what kind needs is made before. Needs Linux, root and Debian's docker.io, which is
# installed where apt is. Where the machine can't do it, it says why and ends with 77.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[ $# -gt 0 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 64; }

if [ "$(uname -s)" = Linux ] && [ "$(id -u)" = 0 ]; then
  bash "$here/../namespaces/packages.sh" /usr/sbin/dockerd:docker.io iptables:iptables ip:iproute2 jq:jq
  bash "$here/node-image.sh" >/dev/null
  sh "$here/../node/build.sh" kind >/dev/null
  sh "$here/../../tests/control-plane/build.sh" kubectl >/dev/null
  sh "$here/../../tests/chart-tools/build.sh" helm >/dev/null
fi
exec bash "$here/../namespaces/enter.sh" "$here/inside.sh" "$@"
