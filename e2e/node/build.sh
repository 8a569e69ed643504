#!/bin/sh
# Finds or builds what a real node runs besides a control plane; prints the directories that have it, as a part of a PATH.
#
#   e2e/node/build.sh MODULE...     stdout: the directories, nothing else; stderr: progress, if there is work to do
#
# A MODULE is a directory of modules/ next to this script. What is built is kept in
# ${XDG_CACHE_HOME:-~/.cache}/arcane/node/<module>-<hash of its go.mod and go.sum>. Several may run at the same time.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/arcane/node
every=15 # seconds between two lines of progress

say() { printf '%s\n' "node: $*" >&2; }
die() { say "$*"; exit 1; }
now() { date +%s; }
duration() { if [ "$1" -ge 60 ]; then printf '%dm%02ds' $(($1 / 60)) $(($1 % 60)); else printf '%ds' "$1"; fi; }
directory_of() { echo "$cache/$1-$(cat "$here/modules/$1/go.mod" "$here/modules/$1/go.sum" | sha256sum | cut -c1-16)"; }
# The version of a Go module, as its go.mod says.
version_of() { sed -n "s|^[[:space:]]*\(require \)*$2 \(v[^ ]*\).*|\2|p" "$here/modules/$1/go.mod" | head -n 1; }

# On two cores, from an empty cache.
lasts() {
  case $1 in
    kubernetes) echo "about 5 minutes, or 2 after the control plane was built" ;;
    containerd) echo "about 3 minutes" ;;
    *) echo "less than a minute" ;;
  esac
}

# Sets $stamps to the linker's flags: a node tells its version.
stamp() {
  stamps="-s -w"
  case $1 in
    kubernetes | kubeadm)
      version=$(version_of "$1" k8s.io/kubernetes) number=${version#v}
      minor=${number#*.} minor=${minor%.*}
      for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
        stamps="$stamps -X $package.gitVersion=$version -X $package.gitMajor=${number%%.*} -X $package.gitMinor=$minor"
        stamps="$stamps -X $package.gitTreeState=clean"
      done
      ;;
  esac
}

build() {
  module=$1 to=$2
  stamp "$module"
  cgo=0 tags=''
  case $module in
    containerd) tags=no_btrfs,no_devmapper,no_zfs ;;
    runc)
      # Seccomp is what pods of the restricted profile run under; its library is one of C.
      cgo=1 tags=seccomp
      pkg-config --exists libseccomp 2>/dev/null ||
        die "runc needs the library libseccomp and pkg-config to be built: apt-get install libseccomp-dev pkg-config gcc"
      ;;
  esac
  mkdir -p "$to"
  started=$(now)
  say "building $module from Go modules, $(lasts "$module") the first time (2 cores), kept in $to"
  CGO_ENABLED=$cgo GOFLAGS=-mod=readonly GOWORK=off \
    "$go" -C "$here/modules/$module" build -trimpath -tags "$tags" -ldflags "$stamps" -o "$to.new/" tool >"$to.log" 2>&1 &
  building=$!
  trap 'kill $building 2>/dev/null || true; exit 130' INT TERM HUP
  told=$started
  while kill -0 $building 2>/dev/null; do
    sleep 1
    if [ $(($(now) - told)) -ge $every ]; then
      told=$(now)
      say "building $module, $(duration $((told - started))) so far"
    fi
  done
  if ! wait $building; then
    tail -n 20 "$to.log" >&2
    die "$module could not be built; the whole log is $to.log"
  fi
  trap - INT TERM HUP
  if [ "$module" = kubernetes ]; then
    # What holds the namespaces of a pod. Kubernetes has it as a file of C beside its Go.
    kubernetes=$(GOFLAGS=-mod=readonly GOWORK=off "$go" -C "$here/modules/kubernetes" list -m -f '{{.Dir}}' k8s.io/kubernetes)
    gcc -Os -static -s -DVERSION=3.10 -o "$to.new/pause" "$kubernetes/build/pause/linux/pause.c" ||
      die "the process that holds a pod could not be built: apt-get install gcc libc6-dev"
  fi
  mv "$to.new"/* "$to/"
  rmdir "$to.new"
  touch "$to/.whole"
  say "built $module in $(duration $(($(now) - started)))"
}

[ "$(uname -s)" = Linux ] || die "a real node is Linux; this machine is $(uname -s)"
path='' missing=''
for module in "$@"; do
  [ -f "$here/modules/$module/go.mod" ] || die "there is no $here/modules/$module/go.mod"
  to=$(directory_of "$module")
  path=$path${path:+:}$to
  [ -e "$to/.whole" ] || missing="$missing $module"
done
if [ -n "$missing" ]; then
  go=$(command -v go || true)
  if [ -z "$go" ] && [ -x /usr/local/go/bin/go ]; then go=/usr/local/go/bin/go; fi
  [ -n "$go" ] || die "Go is needed to build$missing, and there is no 'go' in PATH: install Go 1.26 or newer"
  mkdir -p "$cache"
  exec 9>"$cache/lock"
  flock -n 9 || { say "another process builds, waiting"; flock 9; }
  for module in $missing; do
    to=$(directory_of "$module")
    [ -e "$to/.whole" ] || build "$module" "$to" 9>&-
  done
fi
echo "$path"
