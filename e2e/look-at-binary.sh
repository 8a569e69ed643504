#!/bin/sh
# Looks at a binary that an image is made of: whether it is static and small, and, for root, whether it runs and finds names with
# nothing around it but what a kubelet puts into a container.
#
#   e2e/look-at-binary.sh BINARY
set -eu
binary=$1
name=${binary##*/}
limit=25000000 # bytes
fail() { printf '%s\n' "$name: $*" >&2; exit 1; }

# Where there is a program header for an interpreter, a loader is needed.
headers=$(readelf -lW "$binary") || fail "can't be read; is readelf there (binutils)?"
case $headers in *INTERP*) fail "isn't static" ;; esac
size=$(stat -c %s "$binary")
[ "$size" -lt "$limit" ] || fail "has $size bytes: an image is to be smaller than 25 MB"

[ "$(id -u)" = 0 ] || exit 0
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
cp "$binary" "$root/"
mkdir "$root/etc"
chmod 755 "$root" "$root/etc"
alone() { chroot --userspec=65532:65532 "$root" "/$name" "$@"; }
alone --version >&2 || fail "doesn't run alone"
case $name in arcane-controller) ;; *) exit 0 ;; esac

# An API server by a name that only this file tells, at a port where nobody listens: what is found is refused. Authorities are
# needed for any client; a kubelet brings the cluster's.
mkdir -p "$root/etc/ssl/certs"
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
printf '127.0.0.1 api.arcane.test\n' >"$root/etc/hosts"
cat >"$root/kubeconfig" <<END
apiVersion: v1
kind: Config
current-context: it
clusters: [{name: it, cluster: {server: "http://api.arcane.test:1"}}]
contexts: [{name: it, context: {cluster: it, user: it}}]
users: [{name: it, user: {}}]
END
chmod 644 "$root/etc/hosts" "$root/kubeconfig"
export KUBECONFIG=/kubeconfig
said=$(timeout 10 chroot --userspec=65532:65532 "$root" "/$name" --leader-election=false --log-format=text \
  --health-addr=127.0.0.1:0 --metrics-addr=127.0.0.1:0 2>&1 || true)
case $said in
  *'Connection refused'*) ;;
  *) fail "finds no names: $said" ;;
esac
