#!/bin/bash
# inside.sh COMMAND [ARGUMENT...]: the first process beside a docker engine, see with-docker.sh.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
machine=docker
# shellcheck source=../namespaces/machine.sh
source "$here/../namespaces/machine.sh"

runtime=()
if ! (((0x$(sed -n 's/^CapEff:\s*//p' /proc/self/status) >> 24) & 1)); then # CAP_SYS_RESOURCE
  runtime=(--add-runtime "modest=$here/modest-runtime.sh" --default-runtime modest)
fi
# The client that came with the engine, and its usual address.
export PATH=/usr/sbin:/usr/bin:$PATH
unset DOCKER_HOST DOCKER_CONTEXT
start dockerd /usr/sbin/dockerd --data-root "$state/docker" "${runtime[@]}"
wait_for 60 'docker engine' dockerd docker info
say "an engine is ready after $(since)"

ended=0
"$@" <&3 &
wait $! || ended=$?
exit "$ended"
