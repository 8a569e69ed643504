#!/bin/bash
# Runs a command on a real Kubernetes of one node, whose pods really run, and leaves nothing of it behind.
#
#   e2e/node/with-cluster.sh COMMAND [ARGUMENT...]
#
# etcd, the control plane, containerd, kubelet and kube-proxy, and the command itself, run in private namespaces (mounts,
# network, pids, cgroups, ...), so that they see nothing of this machine but its files, and the machine nothing of them. The
# command has
#   ARCANE_TEST_KUBECONFIG, KUBECONFIG  the admin's kubeconfig
#   ARCANE_E2E_LOAD                     a command that puts an image archive, its last argument, on the node
#   ARCANE_E2E_THROWAWAY                true: the cluster goes with the command, nothing has to be cleared
#   PATH                                with kubectl, helm and ctr
# and no way to any other network. No registry, hence: images are loaded, and a pull fails at once.
#
# Needs Linux, root, and a few packages of Debian, which are installed where apt is. Where the machine can't do it, it says why
# and ends with 77. After a failure the logs are in ARCANE_E2E_LOGS, if that is set.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

say() { printf '%s\n' "real node: $*" >&2; }
cannot() {
  say "can't run here: $*"
  exit 77
}

[ $# -gt 0 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 64; }
[ "$(uname -s)" = Linux ] || cannot "this is $(uname -s), a node is Linux"
[ "$(id -u)" = 0 ] || cannot "it needs root (sudo) for namespaces, mounts and cgroups"

bash "$here/../namespaces/packages.sh" nft:nftables ip:iproute2 openssl:openssl gcc:gcc pkg-config:pkg-config \
  /usr/include/seccomp.h:libseccomp-dev

control_plane=$(sh "$here/../../tests/control-plane/build.sh")
node=$(sh "$here/build.sh" cni containerd kubernetes runc)
helm=$(sh "$here/../../tests/chart-tools/build.sh" helm)

exec env PATH="$control_plane:$node:$helm:$PATH" bash "$here/../namespaces/enter.sh" "$here/inside.sh" "$@"
