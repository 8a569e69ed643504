#!/bin/bash
# Runs a command on the best real cluster that can be had, and takes the cluster away again:
#
#   e2e/run.sh COMMAND [ARGUMENT...]
#
#   1. the one of ARCANE_TEST_KUBECONFIG, as it is
#   2. one of kind, where docker answers and kind is installed
#   3. one of a single node in namespaces of this machine (e2e/node/with-cluster.sh)
#
# ARCANE_E2E_CLUSTER=kind or =node insists on one of the latter two. With kind, what is missing is made: kind from its Go module,
# an engine in namespaces of this machine (e2e/kind/with-docker.sh), the image of a node where kind's own can't be pulled
# (e2e/kind/node-image.sh). ARCANE_E2E_KIND_IMAGE names another image; `made` is that one, without trying to pull. Where there is
# no cluster, it says so and, unless one was insisted on or ARCANE_E2E_REQUIRED is set, ends well: nothing was tried.
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

docker_answers() { command -v docker >/dev/null && docker info >/dev/null 2>&1; }

# Prints the configuration of a cluster. `ours` is a node of e2e/kind/node-image.sh: what its pods are connected by is in it, and
# what finds names isn't.
kind_configuration() {
  cat <<END
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
nodes:
- role: control-plane
kubeadmConfigPatches:
- |
  kind: KubeletConfiguration
  maxPods: 240
END
  [ "$1" = ours ] || return 0
  echo '  oomScoreAdj: 0'
  if ! [ -f /sys/fs/cgroup/cgroup.controllers ]; then
    printf '  %s\n' 'failCgroupV1: false' 'cgroupDriver: cgroupfs'
  fi
  cat <<END
- |
  kind: ClusterConfiguration
  dns: {disabled: true}
- |
  kind: InitConfiguration
  timeouts: {controlPlaneComponentHealthCheck: 5m0s, kubernetesAPICall: 5m0s}
networking: {disableDefaultCNI: true, kubeProxyMode: nftables, ipFamily: ipv4}
END
}

# Runs the command on a cluster of kind, and ends with its status. Comes back, with 77, if there is no cluster.
on_kind() {
  command -v kind >/dev/null || PATH=$PATH:$(sh "$here/node/build.sh" kind)
  name=arcane-e2e-$$ files=$(mktemp -d) imported=''
  remove() {
    kind delete cluster --name "$name" --kubeconfig "$files/kubeconfig" >/dev/null 2>&1 || true
    [ -z "$imported" ] || docker rmi "$imported" >/dev/null 2>&1 || true
    rm -rf "$files"
  }
  trap remove EXIT
  trap 'exit 130' INT TERM HUP
  # create WHOSE IMAGE
  create() {
    kind_configuration "$1" >"$files/cluster.yaml"
    say "kind creates cluster $name${2:+ of $2}"
    kind create cluster --name "$name" --config "$files/cluster.yaml" --kubeconfig "$files/kubeconfig" --wait 180s \
      ${2:+--image "$2"} >&2
  }
  image=${ARCANE_E2E_KIND_IMAGE:-}
  if [ "$image" = made ] || ! create kinds "$image"; then
    # Named by someone, it is to be that one; and where kind isn't insisted on, there is something quicker to make.
    [ "${image:-made}" = made ] && [ "${ARCANE_E2E_CLUSTER:-}" = kind ] || { remove; return 77; }
    archive=$(bash "$here/kind/node-image.sh") || { remove; return 77; }
    imported=arcane.test/kind-node:$name
    docker import --change 'ENV container=docker' --change 'ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]' \
      "$archive" "$imported" >/dev/null &&
      create ours "$imported" || { remove; return 77; }
  fi
  tools
  code=0
  ARCANE_TEST_KUBECONFIG=$files/kubeconfig KUBECONFIG=$files/kubeconfig ARCANE_E2E_THROWAWAY=true \
    ARCANE_E2E_LOAD="kind load image-archive --name $name" "$@" || code=$?
  exit "$code"
}

code=0
case ${ARCANE_E2E_CLUSTER:-} in
  kind)
    if docker_answers; then
      on_kind "$@" || code=$?
    else
      say "no docker answers: an engine is started in namespaces of this machine"
      ARCANE_E2E_KIND_IMAGE=made bash "$here/kind/with-docker.sh" bash "$here/run.sh" "$@" || code=$?
    fi
    ;;
  node)
    bash "$here/node/with-cluster.sh" "$@" || code=$?
    ;;
  *)
    if docker_answers && command -v kind >/dev/null; then on_kind "$@" || true; fi # it ends the script, if there is a cluster
    bash "$here/node/with-cluster.sh" "$@" || code=$?
    ;;
esac
if [ "$code" = 77 ] && [ -z "${ARCANE_E2E_REQUIRED:-}${ARCANE_E2E_CLUSTER:-}" ]; then
  say "SKIPPED, nothing of the installed chart was tried: see above what is missing for a real cluster here"
  exit 0
fi
exit "$code"
