#!/bin/bash
# inside.sh COMMAND [ARGUMENT...]: the first process in the namespaces of a node, see with-cluster.sh.
set -euo pipefail
machine=node-1
# shellcheck source=../namespaces/machine.sh
source "$(dirname "${BASH_SOURCE[0]}")/../namespaces/machine.sh"
pki=$state/pki node_name=$machine node_ip=$machine_ip pods=10.244.0.0/24 services=10.96.0.0/16 first_service=10.96.0.1
server=https://127.0.0.1:6443

for directory in /var/log /var/lib/kubelet /var/lib/cni; do
  mkdir -p "$directory" "$state$directory"
  mount --bind "$state$directory" "$directory"
done
: >"$state/resolv.conf" # there is nobody to ask for names

# --- Who is who --------------------------------------------------------------------------------------------------------------
mkdir -m 700 "$pki"
new_key() { openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null ||
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null; }
new_key "$pki/ca.key"
openssl req -x509 -new -key "$pki/ca.key" -out "$pki/ca.crt" -days 2 -subj /CN=arcane-node \
  -addext keyUsage=critical,keyCertSign,cRLSign,digitalSignature
# certificate NAME SUBJECT [SUBJECT-ALTERNATIVE-NAMES]
certificate() {
  new_key "$pki/$1.key"
  {
    echo 'keyUsage=digitalSignature'
    echo "extendedKeyUsage=clientAuth${3:+,serverAuth}"
    [ -z "${3:-}" ] || echo "subjectAltName=$3"
  } >"$pki/$1.extensions"
  openssl req -new -key "$pki/$1.key" -subj "$2" |
    openssl x509 -req -CA "$pki/ca.crt" -CAkey "$pki/ca.key" -CAcreateserial -days 2 -extfile "$pki/$1.extensions" \
      -out "$pki/$1.crt" 2>/dev/null
}
# kubeconfig NAME: of the holder of that certificate
kubeconfig() {
  cat >"$run/$1.kubeconfig" <<END
apiVersion: v1
kind: Config
clusters: [{name: node, cluster: {server: "$server", certificate-authority: "$pki/ca.crt"}}]
users: [{name: $1, user: {client-certificate: "$pki/$1.crt", client-key: "$pki/$1.key"}}]
contexts: [{name: node, context: {cluster: node, user: $1}}]
current-context: node
END
}
kubernetes=kubernetes.default.svc
certificate api-server /CN=kube-apiserver \
  "DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:$kubernetes,IP:127.0.0.1,IP:$node_ip,IP:$first_service"
certificate admin /O=system:masters/CN=kubernetes-admin
certificate controller-manager /CN=system:kube-controller-manager
certificate scheduler /CN=system:kube-scheduler
certificate kubelet "/O=system:nodes/CN=system:node:$node_name"
certificate kube-proxy /CN=system:kube-proxy
certificate front-proxy /CN=front-proxy-client
certificate to-kubelet /O=system:masters/CN=kube-apiserver-kubelet-client
certificate kubelet-server "/CN=$node_name" "DNS:$node_name,IP:$node_ip,IP:127.0.0.1"
openssl genrsa -out "$pki/service-accounts.key" 2048 2>/dev/null
openssl rsa -in "$pki/service-accounts.key" -pubout -out "$pki/service-accounts.pub" 2>/dev/null
for name in admin controller-manager scheduler kubelet kube-proxy; do kubeconfig "$name"; done
export KUBECONFIG=$run/admin.kubeconfig

# --- The control plane -------------------------------------------------------------------------------------------------------
start etcd etcd --name=default --data-dir="$state/etcd" --unsafe-no-fsync --log-level=warn
start kube-apiserver kube-apiserver --etcd-servers=http://127.0.0.1:2379 \
  --bind-address=0.0.0.0 --secure-port=6443 --advertise-address="$node_ip" \
  --tls-cert-file="$pki/api-server.crt" --tls-private-key-file="$pki/api-server.key" --client-ca-file="$pki/ca.crt" \
  --service-account-issuer="https://$kubernetes" \
  --service-account-key-file="$pki/service-accounts.pub" --service-account-signing-key-file="$pki/service-accounts.key" \
  --service-cluster-ip-range="$services" --authorization-mode=Node,RBAC --allow-privileged=true \
  --enable-admission-plugins=NodeRestriction \
  --requestheader-client-ca-file="$pki/ca.crt" --requestheader-allowed-names=front-proxy-client \
  --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group \
  --requestheader-extra-headers-prefix=X-Remote-Extra- \
  --proxy-client-cert-file="$pki/front-proxy.crt" --proxy-client-key-file="$pki/front-proxy.key" \
  --kubelet-client-certificate="$pki/to-kubelet.crt" --kubelet-client-key="$pki/to-kubelet.key" \
  --kubelet-certificate-authority="$pki/ca.crt" --kubelet-preferred-address-types=InternalIP --profiling=false

# --- The container runtime, while the API server starts ----------------------------------------------------------------------
plugin_directory=$(dirname "$(command -v host-local)")
mkdir "$state/cni" "$state/registries" "$state/registries/_default"
cat >"$state/cni/10-pods.conflist" <<END
{"cniVersion": "1.0.0", "name": "pods", "plugins": [{
  "type": "ptp", "mtu": 1500, "ipMasq": false,
  "ipam": {"type": "host-local", "dataDir": "/run/cni-addresses", "ranges": [[{"subnet": "$pods"}]],
           "routes": [{"dst": "0.0.0.0/0"}]}
}]}
END
# Nobody listens there: a pull fails at once instead of waiting for names.
cat >"$state/registries/_default/hosts.toml" <<END
server = "http://127.0.0.1:1"
[host."http://127.0.0.1:1"]
  capabilities = ["pull", "resolve"]
END
cat >"$state/containerd.toml" <<END
version = 3
root = "$state/containerd"
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins.'io.containerd.cri.v1.images'.registry]
  config_path = "$state/registries"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "registry.k8s.io/pause:3.10"
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true # also where root may not lower it
[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ["$plugin_directory"]
  conf_dir = "$state/cni"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
    BinaryName = "$(command -v runc)"
    SystemdCgroup = false
END
start containerd containerd --config "$state/containerd.toml"
export CONTAINERD_ADDRESS=/run/containerd/containerd.sock CONTAINERD_NAMESPACE=k8s.io
load='ctr images import'
wait_for 60 'container runtime' containerd ctr version
# The process that holds a pod's namespaces.
sh "$(dirname "$0")/pack-image.sh" "$state/pause.tar" "$(command -v pause)" 65535:65535 registry.k8s.io/pause:3.10
$load "$state/pause.tar" >"$logs/pause-image.log" 2>&1 || fail 'no image of pause' pause-image

wait_for 120 'API server' kube-apiserver kubectl get --raw /readyz
start kube-controller-manager kube-controller-manager --kubeconfig="$run/controller-manager.kubeconfig" \
  --bind-address=127.0.0.1 --leader-elect=false --use-service-account-credentials \
  --service-account-private-key-file="$pki/service-accounts.key" --root-ca-file="$pki/ca.crt"
start kube-scheduler kube-scheduler --kubeconfig="$run/scheduler.kubeconfig" --bind-address=127.0.0.1 --leader-elect=false

# --- The node ----------------------------------------------------------------------------------------------------------------
cat >"$state/kubelet.yaml" <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: "$pki/ca.crt"}}
authorization: {mode: Webhook}
tlsCertFile: "$pki/kubelet-server.crt"
tlsPrivateKeyFile: "$pki/kubelet-server.key"
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
resolvConf: "$state/resolv.conf"
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
imageGCHighThresholdPercent: 100 # what is loaded can't be pulled again
maxPods: 240
evictionHard: {memory.available: 100Mi, nodefs.available: 0%, imagefs.available: 0%, nodefs.inodesFree: 0%}
volumePluginDir: "$state/volume-plugins"
END
cat >"$state/kube-proxy.yaml" <<END
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: {kubeconfig: "$run/kube-proxy.kubeconfig"}
clusterCIDR: $pods
hostnameOverride: $node_name
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s} # settings of the machine
END
start kubelet kubelet --config="$state/kubelet.yaml" --kubeconfig="$run/kubelet.kubeconfig" --root-dir="$state/kubelet" \
  --cert-dir="$state/kubelet-pki" --hostname-override="$node_name" --node-ip="$node_ip"
start kube-proxy kube-proxy --config="$state/kube-proxy.yaml"
wait_for 120 'ready node' kubelet kubectl wait --for=condition=Ready "node/$node_name" --timeout=1s
wait_for 60 'ServiceAccount default' kube-controller-manager kubectl get serviceaccount default
say "a cluster of one node is ready after $(since)"

ended=0
ARCANE_TEST_KUBECONFIG=$KUBECONFIG ARCANE_E2E_LOAD=$load ARCANE_E2E_THROWAWAY=true "$@" <&3 &
wait $! || ended=$?
exit "$ended"
