#!/bin/bash
# Finds or makes what kind runs as a node, where its own image can't be pulled, and prints the archive, for `docker import`:
#
#   e2e/kind/node-image.sh     stdout: the archive, nothing else; stderr: progress, if there is work to do
#
# Debian by debootstrap, with kind's own files, which are in its Go module, and the binaries that e2e/node/build.sh and
# tests/control-plane/build.sh make. No registry of containers is asked. The images of the control plane are in it, but no DNS:
# e2e/run.sh tells kubeadm so. It is kept in ${XDG_CACHE_HOME:-~/.cache}/arcane/kind, where one for this machine's version of
# cgroups: with version 1 the kubelet can't leave them to systemd. Needs root; where it can't be made, it says why and ends
# with 77.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/arcane/kind
node=$here/../node

say() { printf '%s\n' "image of a node: $*" >&2; }
cannot() {
  say "can't be made here: $*"
  exit 77
}

cgroups=1
if [ -f /sys/fs/cgroup/cgroup.controllers ]; then cgroups=2; fi
key=$(cat "$here/node-image.sh" "$node/pack-image.sh" "$node"/modules/{cni,containerd,kind,kubeadm,kubernetes,runc}/go.sum \
  "$here/../../tests/control-plane/go.sum" | sha256sum | cut -c1-16)
archive=$cache/node-cgroups-v$cgroups-$key.tar
if [ -f "$archive" ]; then
  echo "$archive"
  exit 0
fi

[ "$(uname -s)" = Linux ] || cannot "this is $(uname -s), a node is Linux"
[ "$(id -u)" = 0 ] || cannot "it needs root (sudo) for debootstrap"
bash "$here/../namespaces/packages.sh" debootstrap:debootstrap jq:jq gcc:gcc pkg-config:pkg-config \
  /usr/include/seccomp.h:libseccomp-dev
PATH=$(sh "$here/../../tests/control-plane/build.sh"):$(sh "$node/build.sh" cni containerd kubeadm kubernetes runc):$PATH
PATH=$PATH:/usr/local/go/bin

mkdir -p "$cache"
work=$(mktemp -d "$cache/work-XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT
trap 'exit 130' INT TERM HUP
root=$work/root
started=$(date +%s)

say "making it: Debian by debootstrap, about a minute the first time"
debootstrap --variant=minbase \
  --include=systemd,iproute2,jq,kmod,mount,conntrack,ethtool,util-linux,procps,iptables,nftables,ca-certificates,hostname \
  bookworm "$root" >"$work/debootstrap.log" 2>&1 || cannot "debootstrap failed: $(tail -n 3 "$work/debootstrap.log")"
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root/usr/share/doc" "$root/usr/share/man" "$root/usr/share/locale"

# What kind puts into its images.
export GOFLAGS=-mod=readonly GOWORK=off
go -C "$node/modules/kind" mod download sigs.k8s.io/kind
files=$(go -C "$node/modules/kind" list -m -f '{{.Dir}}' sigs.k8s.io/kind)/images/base/files
cp -R --no-preserve=mode,ownership "$files"/{etc,kind,usr} "$root/"
chmod 755 "$root"/usr/local/bin/* "$root"/kind/bin/*
mkdir -p "$root"/{kind/images,kind/manifests,opt/cni/bin,etc/kubernetes/manifests,etc/cni/net.d,etc/containerd/certs.d/_default}
version=$(kubeadm version -o short)
echo "$version" >"$root/kind/version"
install -t "$root/usr/local/bin" "$(command -v containerd)" "$(command -v ctr)" "$(command -v containerd-shim-runc-v2)"
install -t "$root/usr/local/sbin" "$(command -v runc)"
install -t "$root/usr/bin" "$(command -v kubeadm)" "$(command -v kubelet)" "$(command -v kubectl)"
install -t "$root/opt/cni/bin" "$(command -v host-local)" "$(command -v loopback)" "$(command -v ptp)"

# systemd in a container: nothing that would touch the machine, nobody who logs in.
for wanted in sysinit.target.wants/systemd-tmpfiles-setup.service 'multi-user.target.wants/*' 'local-fs.target.wants/*' \
  'sockets.target.wants/*udev*' 'sockets.target.wants/*initctl*' 'basic.target.wants/*'; do
  # shellcheck disable=SC2086 # patterns
  rm -f "$root"/lib/systemd/system/$wanted
done
rm -f "$root"/etc/systemd/system/*.wants/*
rm -f "$root"/usr/lib/sysctl.d/{99-protect-links,50-pid-max}.conf # settings of the whole machine
echo ReadKMsg=no >>"$root/etc/systemd/journald.conf"
ln -sf /lib/systemd/systemd "$root/sbin/init"

# The kubelet sets some settings of the whole machine, too. It gets files that look like them, with what it wants in them.
{
  head -n 1 "$root/usr/local/bin/entrypoint"
  cat <<'END'
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
  kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
  name=${setting%=*}
  echo "${setting#*=}" >"/kind/setting-${name//\//-}"
  mount --bind "/kind/setting-${name//\//-}" "/proc/sys/$name"
done
END
  tail -n +2 "$root/usr/local/bin/entrypoint"
} >"$work/entrypoint"
install -m 755 "$work/entrypoint" "$root/usr/local/bin/entrypoint"

# The container runtime, also where root may not lower anybody's oom_score_adj. Nobody listens at that address: a pull fails at
# once instead of waiting for names.
sed -i 's/restrict_oom_score_adj = false/restrict_oom_score_adj = true/' "$root/etc/containerd/config.toml"
cat >>"$root/etc/containerd/config.toml" <<'END'

[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = "/etc/containerd/certs.d"
END
cat >"$root/etc/containerd/certs.d/_default/hosts.toml" <<'END'
server = "http://127.0.0.1:1"
[host."http://127.0.0.1:1"]
  capabilities = ["pull", "resolve"]
END
ctr oci spec |
  jq '.hooks.createContainer += [{path: "/kind/bin/mount-product-files.sh"}] | del(.process.rlimits)' \
    >"$root/etc/containerd/cri-base.json"
if [ "$cgroups" = 1 ]; then
  sed -i 's/SystemdCgroup = true/SystemdCgroup = false/' "$root/etc/containerd/config.toml"
  # kind's own preparation of the kubelet's group is for version 2.
  cat >"$root/kind/bin/create-kubelet-cgroups-v1.sh" <<'END'
#!/bin/bash
set -euo pipefail
for controller in cpu cpuacct cpuset memory devices freezer blkio pids systemd; do
  group=/sys/fs/cgroup/$controller
  [ -e "$group/cgroup.procs" ] || continue
  mkdir -p "$group/kubelet"
  [ "$controller" = cpuset ] || continue # it begins empty, and nothing may enter it then
  for file in cpuset.cpus cpuset.mems; do cat "$group/$file" >"$group/kubelet/$file"; done
done
END
  chmod 755 "$root/kind/bin/create-kubelet-cgroups-v1.sh"
  printf '[Service]\nExecStartPre=/kind/bin/create-kubelet-cgroups-v1.sh\n' \
    >"$root/etc/systemd/system/kubelet.service.d/12-cgroups-v1.conf"
fi

# The network of pods, of one node.
cat >"$root/etc/cni/net.d/10-pods.conflist" <<'END'
{"cniVersion": "1.0.0", "name": "pods", "plugins": [{
  "type": "ptp", "mtu": 1500, "ipMasq": false,
  "ipam": {"type": "host-local", "dataDir": "/run/cni-addresses", "ranges": [[{"subnet": "10.244.0.0/24"}]],
           "routes": [{"dst": "0.0.0.0/0"}]}
}]}
END

# The images of the control plane are one, by all their names; kube-proxy needs nft.
parts=$work/parts
mkdir -p "$parts"/{usr/local/bin,usr/sbin,tmp}
for binary in etcd kube-apiserver kube-controller-manager kube-proxy kube-scheduler; do
  install -t "$parts/usr/local/bin" "$(command -v "$binary")"
done
for file in /usr/sbin/nft $(chroot "$root" ldd /usr/sbin/nft | grep -o '/[^ ]*'); do
  install -D "$root$file" "$parts$file"
done
images=$(kubeadm config images list --kubernetes-version "$version" 2>/dev/null)
# shellcheck disable=SC2046 # a list of names
sh "$node/pack-image.sh" "$root/kind/images/control-plane.tar" "$parts" 0:0 $(grep -E '/(etcd|kube-[a-z-]+):' <<<"$images")
# shellcheck disable=SC2046 # a list of names
sh "$node/pack-image.sh" "$root/kind/images/pause.tar" "$(command -v pause)" 65535:65535 registry.k8s.io/pause:3.10 \
  $(grep '/pause:' <<<"$images" | grep -v ':3\.10$')
cat >"$root/etc/systemd/system/load-images.service" <<'END'
[Unit]
After=containerd.service
Requires=containerd.service
Before=kubelet.service multi-user.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'for archive in /kind/images/*.tar; do ctr -n k8s.io images import "$archive" || exit 1; done'
[Install]
WantedBy=multi-user.target
END
for service in containerd kubelet load-images undo-mount-hacks; do
  chroot "$root" systemctl enable --quiet "$service.service"
done
chroot "$root" systemctl mask --quiet systemd-binfmt.service

tar -C "$root" -cf "$work/node.tar" .
rm -f "$cache"/node-cgroups-v*.tar
mv "$work/node.tar" "$archive"
say "made in $(($(date +%s) - started)) s, kept in $archive"
echo "$archive"
