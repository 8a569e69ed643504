#!/bin/bash
# Runs a command on the best real cluster that can be had, and takes the cluster away again:
#
#   e2e/run.sh COMMAND [ARGUMENT...]
#
#   1. the one of ARCANE_TEST_KUBECONFIG, as it is
#   2. one of kind, where docker runs and kind is installed and can pull its image
#   3. one of a single node in namespaces of this machine (e2e/node/with-cluster.sh)
#
# ARCANE_E2E_CLUSTER=kind or =node insists on one of the latter two. Where there is none, it says so and, unless
# ARCANE_E2E_REQUIRED is set, ends well: nothing was tried.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
say() { printf '%s\n' "e2e: $*" >&2; }
[ $# -gt 0 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 64; }

# kubectl and helm: those that are installed, else those that are built here.
tools() {
  command -v kubectl >/dev/null || PATH=$PATH:$(sh "$here/../tests/control-plane/build.sh" kubectl)
  command -v helm >/dev/null || PATH=$PATH:$(sh "$here/../tests/chart-tools/build.sh" helm)
  export PATH
}

if [ -n "${ARCANE_TEST_KUBECONFIG:-}" ]; then
  tools
  exec "$@"
fi

on_kind() {
  command -v kind >/dev/null && docker info >/dev/null 2>&1 || return 1
  name=arcane-e2e-$$
  kubeconfig=$(mktemp)
  remove() {
    kind delete cluster --name "$name" --kubeconfig "$kubeconfig" >/dev/null 2>&1 || true
    rm -f "$kubeconfig"
  }
  trap remove EXIT
  trap 'exit 130' INT TERM HUP
  say "kind creates cluster $name${ARCANE_E2E_KIND_IMAGE:+ of $ARCANE_E2E_KIND_IMAGE}"
  # shellcheck disable=SC2086 # a list of words
  kind create cluster --name "$name" --kubeconfig "$kubeconfig" --wait 180s \
    ${ARCANE_E2E_KIND_IMAGE:+--image "$ARCANE_E2E_KIND_IMAGE"} ${ARCANE_E2E_KIND_CONFIG:+--config "$ARCANE_E2E_KIND_CONFIG"} ||
    return 1
  tools
  code=0
  ARCANE_TEST_KUBECONFIG=$kubeconfig ARCANE_E2E_LOAD="kind load image-archive --name $name" ARCANE_E2E_THROWAWAY=true \
    "$@" || code=$?
  exit "$code"
}

if [ "${ARCANE_E2E_CLUSTER:-}" != node ]; then
  on_kind "$@" || true # it ends the script, if there is a cluster
  if [ "${ARCANE_E2E_CLUSTER:-}" = kind ]; then
    say "there is no kind, no docker that answers, or no image of a node"
    exit 1
  fi
fi

code=0
bash "$here/node/with-cluster.sh" "$@" || code=$?
if [ "$code" = 77 ] && [ -z "${ARCANE_E2E_REQUIRED:-}" ]; then
  say "SKIPPED, nothing of the installed chart was tried: see above what is missing for a real cluster here"
  exit 0
fi
exit "$code"
