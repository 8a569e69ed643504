#!/bin/sh
# Finds or builds etcd, kube-apiserver, kube-controller-manager and kubectl, and prints the directory that has them.
#
#   tests/control-plane/build.sh [BINARY...]     stdout: the directory, nothing else; stderr: progress, if there is work to do
#
# Without arguments it is all four.
#
# The quickest way to each binary wins:
#   1. in the cache: ${XDG_CACHE_HOME:-~/.cache}/arcane/control-plane/<hash of go.mod and go.sum>
#   2. in $KUBEBUILDER_ASSETS (setup-envtest), if it is of the same minor version of Kubernetes
#   3. built from the Go modules of go.mod next to this script, and put into the cache
# With ARCANE_KUBERNETES=oldest, API server and controller manager are those of oldest/go.mod, the oldest version that is
# supported; etcd and kubectl are the same.
# Several may run at the same time: one builds, the others wait for it.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
case ${ARCANE_KUBERNETES:-} in
  '') modules=$here newest='' ;;
  oldest)
    modules=$here/oldest
    newest=$(ARCANE_KUBERNETES='' KUBEBUILDER_ASSETS='' sh "$0" etcd kubectl)
    ;;
  *)
    echo "control plane: ARCANE_KUBERNETES=$ARCANE_KUBERNETES: the only version that has a name is 'oldest'" >&2
    exit 64
    ;;
esac
version=$(sed -n 's|^[[:space:]]*k8s.io/kubernetes \(v[0-9.]*\).*|\1|p' "$modules/go.mod" | head -n 1)
minor=${version%.*}
wanted=${*:-etcd kube-apiserver kube-controller-manager kubectl}
every=15 # seconds between two lines of progress

say() { printf '%s\n' "control plane: $*" >&2; }
die() { say "$*"; exit 1; }
duration() { if [ "$1" -ge 60 ]; then printf '%dm%02ds' $(($1 / 60)) $(($1 % 60)); else printf '%ds' "$1"; fi; }
now() { date +%s; }

sha256() { if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi; }
key=$(cat "$modules/go.mod" "$modules/go.sum" | sha256 | cut -c1-16)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/arcane/control-plane/$key

package_of() {
  case $1 in
    etcd) echo go.etcd.io/etcd/server/v3 ;;
    *) echo "k8s.io/kubernetes/cmd/$1" ;;
  esac
}

# Whether the asset $1 is a binary $2 that goes with the others: etcd of any version does, Kubernetes of the same minor version.
fits() {
  [ -x "$1" ] || return 1
  case $2 in
    etcd) return 0 ;;
    kubectl) found=$("$1" version --client 2>/dev/null | sed -n 's/^Client Version: //p') ;;
    *) found=$("$1" --version 2>/dev/null | sed -n 's/^Kubernetes //p') ;;
  esac
  case $found in
    "$minor".*) return 0 ;;
    *)
      [ -n "${locked:-}" ] || say "\$KUBEBUILDER_ASSETS has $2 ${found:-of an unknown version}, $minor is wanted: not used"
      return 1
      ;;
  esac
}

# Sets $missing to what is neither in the cache nor among the assets, $borrowed to what the assets give.
look() {
  missing='' borrowed=''
  for binary in $wanted; do
    if [ -x "$cache/$binary" ]; then continue; fi
    if [ -n "${KUBEBUILDER_ASSETS:-}" ] && fits "$KUBEBUILDER_ASSETS/$binary" "$binary"; then
      borrowed="$borrowed $binary"
    else
      missing="$missing $binary"
    fi
  done
}

# Prints the directory. With borrowed binaries it is one of links, made anew: the cache itself holds only what was built.
print_directory() {
  if [ -z "$borrowed" ]; then
    echo "$cache"
    return
  fi
  links=$cache/with-assets-$(printf '%s' "$KUBEBUILDER_ASSETS" | sha256 | cut -c1-8)
  mkdir -p "$links"
  for binary in $wanted; do
    source=$cache/$binary
    case " $borrowed " in *" $binary "*) source=$KUBEBUILDER_ASSETS/$binary ;; esac
    ln -s "$source" "$links/.$binary.$$" && mv -f "$links/.$binary.$$" "$links/$binary"
  done
  echo "$links"
}

if [ -n "$newest" ]; then
  mkdir -p "$cache"
  for binary in etcd kubectl; do # in one step: another process may be about to start one of them
    ln -s "$newest/$binary" "$cache/.$binary.$$" && mv -f "$cache/.$binary.$$" "$cache/$binary"
  done
fi

look
if [ -z "$missing" ]; then
  print_directory
  exit 0
fi

go=$(command -v go || true)
if [ -z "$go" ] && [ -x /usr/local/go/bin/go ]; then go=/usr/local/go/bin/go; fi
[ -n "$go" ] || die "Go is needed to build$missing, and there is no 'go' in PATH.
  Install Go 1.26 or newer (https://go.dev/dl/; any Go since 1.21 fetches the newer one by itself),
  or give the binaries of Kubernetes $minor in a directory named by KUBEBUILDER_ASSETS."

# The lock is a symbolic link whose target is the pid of its owner: made in one step, and it tells who holds it.
# The owner touches $progress all the time, so that a pid that was given to somebody else is noticed, too.
mkdir -p "$cache"
lock=$cache/lock
progress=$cache/progress
log=$cache/build.log
locked='' temporary='' building=''
cleanup() {
  trap - EXIT INT TERM HUP
  [ -z "$building" ] || kill "$building" 2>/dev/null || true
  [ -z "$temporary" ] || rm -rf "$temporary"
  [ -z "$locked" ] || rm -f "$lock"
}
trap cleanup EXIT
trap 'cleanup; exit 130' INT TERM HUP

# Whether the owner of the lock has gone.
stale() {
  owner=$(readlink "$lock" 2>/dev/null) || return 1
  if ! kill -0 "$owner" 2>/dev/null; then return 0; fi
  [ -n "$(find "$progress" -prune -mmin +2 2>/dev/null)" ]
}

started=$(now) told=0
until ln -s $$ "$lock" 2>/dev/null; do
  if stale; then
    rm -f "$lock"
    continue
  fi
  if [ $(($(now) - told)) -ge $every ]; then
    say "another process builds, waiting: $(cat "$progress" 2>/dev/null || true)"
    told=$(now)
  fi
  sleep 1
done
locked=yes

look # somebody may have built it while we waited
if [ -z "$missing" ]; then
  print_directory
  exit 0
fi

report() { # what is going on
  printf '%s\n' "$*" >"$progress"
  if [ $(($(now) - told)) -ge $every ]; then
    say "$*"
    told=$(now)
  fi
}

temporary=$(mktemp -d "$cache/building.XXXXXX")
say "building$missing $version from Go modules: about 8 minutes for all the first time (2 cores), kept in $cache"
told=$(now)
report "starting"

packages=''
for binary in $missing; do packages="$packages $(package_of "$binary")"; done
stamps="-s -w"
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
  number=${minor#v}
  stamps="$stamps -X $package.gitVersion=$version -X $package.gitMajor=${number%.*} -X $package.gitMinor=${number#*.} -X $package.gitTreeState=clean"
done
export CGO_ENABLED=0 GOFLAGS=-mod=readonly GOWORK=off

# Runs "$@" in the background, and $0's function $describe every second while it lasts.
while_it_runs() {
  describe=$1
  shift
  "$@" &
  building=$!
  while kill -0 "$building" 2>/dev/null; do
    report "$($describe), $(duration $(($(now) - started))) so far"
    sleep 1
  done
  wait "$building" && code=0 || code=$?
  building=''
  return $code
}
fail() {
  tail -n 20 "$log" >&2
  die "$1; the whole log is $log"
}

# What is to be compiled, for an estimate; this also fetches the modules.
list_stale() {
  # shellcheck disable=SC2086 # a list of words
  exec "$go" -C "$modules" list -trimpath -ldflags "$stamps" -deps -f '{{if .Stale}}{{.ImportPath}}{{end}}' $packages >"$temporary/stale" 2>"$log"
}
fetching() { echo "fetching modules: $(grep -c downloading "$log" || true) so far"; }
while_it_runs fetching list_stale || fail "the modules could not be fetched"
total=$(grep -c . "$temporary/stale" || true)

compile() {
  # shellcheck disable=SC2086 # a list of words
  exec "$go" -C "$modules" build -v -trimpath -ldflags "$stamps" -o "$temporary/" $packages >>"$log" 2>&1
}
before=$(grep -c . "$log" || true)
compiling_since=$(now)
compiling() {
  count=$(($(grep -c . "$log" || true) - before))
  took=$(($(now) - compiling_since))
  if [ "$count" -ge "$total" ]; then
    echo "linking"
  elif [ "$count" -gt 20 ] && [ "$took" -gt 20 ]; then
    # The last packages are the big ones, and linking comes on top: a half more than the plain proportion.
    echo "compiling, $count of $total packages, about $(duration $(($took * ($total - $count) * 3 / (2 * $count) + 20))) left"
  else
    echo "compiling, $count of $total packages"
  fi
}
while_it_runs compiling compile || fail "go build failed"

if [ -f "$temporary/server" ]; then mv "$temporary/server" "$temporary/etcd"; fi # Go names it after its directory
for binary in $missing; do mv -f "$temporary/$binary" "$cache/$binary"; done
say "built$missing in $(duration $(($(now) - started)))"
look
print_directory
