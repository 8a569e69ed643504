#!/bin/sh
# Finds or builds helm, helm-unittest, kubeconform, promtool and cert-manager, and what tests/gitops needs besides, and prints
# their directories, as PATH takes them; without arguments those of the first five, and of prometheus-operator, of which
# nothing is built. In the directories of cert-manager, prometheus-operator and kustomize-controller are their
# CustomResourceDefinitions, in crds.
#
#   tests/chart-tools/build.sh [TOOL...]     stdout: DIRECTORY[:DIRECTORY...], nothing else; stderr: progress, if there is work to do
#
# Each tool is a Go module of its own beside this script or in ../gitops (what one of them depends on doesn't fit the others),
# and is kept in ${XDG_CACHE_HOME:-~/.cache}/arcane/chart-tools/TOOL/<hash of its files and flags>. Several may run at the same
# time: one builds, the others wait for it. Tools that happen to be in PATH are not used: their versions are anybody's guess.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/arcane/chart-tools
every=15 # seconds between two lines of progress

say() { printf '%s\n' "chart tools: $*" >&2; }
die() { say "$*"; exit 1; }
now() { date +%s; }
duration() { if [ "$1" -ge 60 ]; then printf '%dm%02ds' $(($1 / 60)) $(($1 % 60)); else printf '%ds' "$1"; fi; }
sha256() { if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi; }
sources() { if [ -d "$here/$1" ]; then echo "$here/$1"; else echo "$here/../gitops/${1%-driver}"; fi; }
version_of() { sed -n "s|^require $1 \\(v[^ ]*\\).*|\\1|p; s|^[[:space:]]*$1 \\(v[^ ]*\\).*|\\1|p" "$here/$2/go.mod" | head -n 1; }

# Sets $package, $flags, $takes of a tool, and $definitions: MODULE:DIRECTORY with its CustomResourceDefinitions.
describe() {
  flags='' stamps='-s -w' definitions=''
  case $1 in
    helm)
      # As helm's own Makefile does it: its version, and the Kubernetes that it renders for when there is no cluster.
      package=helm.sh/helm/v3/cmd/helm takes='2 minutes'
      minor=$(version_of k8s.io/client-go helm | cut -d. -f2)
      stamps="$stamps -X helm.sh/helm/v3/internal/version.version=$(version_of helm.sh/helm/v3 helm)"
      for of in pkg/lint/rules pkg/chartutil; do
        stamps="$stamps -X helm.sh/helm/v3/$of.k8sVersionMajor=1 -X helm.sh/helm/v3/$of.k8sVersionMinor=$minor"
      done
      ;;
    helm-unittest)
      package=github.com/helm-unittest/helm-unittest/cmd/helm-unittest takes='1 minute'
      stamps="$stamps -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=36"
      ;;
    kubeconform) package=github.com/yannh/kubeconform/cmd/kubeconform takes='10 seconds' ;;
    promtool) package=github.com/prometheus/prometheus/cmd/promtool takes='2 minutes' flags='-tags=remove_all_sd' ;;
    cert-manager) package=. takes='3 minutes' definitions=github.com/cert-manager/cert-manager:deploy/crds ;;
    prometheus-operator)
      package='' takes='5 seconds'
      definitions=github.com/prometheus-operator/prometheus-operator:example/prometheus-operator-crd
      ;;
    flux-driver) package=. takes='2 minutes' ;;
    argocd-driver) package=. takes='4 minutes' ;;
    kustomize-controller)
      package=github.com/fluxcd/kustomize-controller takes='5 minutes'
      definitions=github.com/fluxcd/kustomize-controller:config/crd/bases
      ;;
    *)
      die "there is no tool $1: helm, helm-unittest, kubeconform, promtool, cert-manager, prometheus-operator, flux-driver," \
        "argocd-driver, kustomize-controller"
      ;;
  esac
}

# Whether tool $1 is in directory $2.
is_there() { [ -x "$2/$1" ] || { [ -z "$package" ] && [ -d "$2/crds" ]; }; }

locked='' building=''
cleanup() {
  trap - EXIT INT TERM HUP
  [ -z "$building" ] || kill "$building" 2>/dev/null || true
  [ -z "$locked" ] || rm -f "$locked"
}
trap cleanup EXIT
trap 'cleanup; exit 130' INT TERM HUP

# Builds tool $1 into directory $2.
build() {
  go=$(command -v go || true)
  if [ -z "$go" ] && [ -x /usr/local/go/bin/go ]; then go=/usr/local/go/bin/go; fi
  [ -n "$go" ] || die "Go is needed to build $1, and there is no 'go' in PATH: install Go 1.26 or newer (https://go.dev/dl/)"
  mkdir -p "$2"
  # A symbolic link whose target is its owner's pid: made in one step, and it tells who holds it.
  until ln -s $$ "$2/lock" 2>/dev/null; do
    owner=$(readlink "$2/lock" 2>/dev/null) || continue
    if ! kill -0 "$owner" 2>/dev/null; then rm -f "$2/lock"; fi
    sleep 1
  done
  locked=$2/lock
  if ! is_there "$1" "$2"; then
    say "building $1 from Go modules: about $takes the first time (2 cores), kept in $2"
    started=$(now)
    if [ -n "$definitions" ]; then copy_definitions "$(sources "$1")" "$2/crds"; fi
    if [ -n "$package" ]; then compile "$1" "$2"; fi
    say "built $1 in $(duration $(($(now) - started)))"
  fi
  rm -f "$locked"
  locked=''
}

# Copies $definitions, as the go.mod in directory $1 pins their module, to $2.
copy_definitions() {
  module=${definitions%%:*}
  GOFLAGS=-mod=readonly GOWORK=off "$go" -C "$1" mod download "$module" || die "module $module can't be had"
  rm -rf "$2" "$2.new"
  cp -R "$(GOFLAGS=-mod=readonly GOWORK=off "$go" -C "$1" list -m -f '{{.Dir}}' "$module")/${definitions#*:}" "$2.new"
  chmod -R u+w "$2.new"
  mv "$2.new" "$2"
}

# Compiles tool $1 into directory $2.
compile() {
  told=$(now)
  # shellcheck disable=SC2086 # $flags is none or one word
  CGO_ENABLED=0 GOFLAGS=-mod=readonly GOWORK=off nice "$go" -C "$(sources "$1")" build -trimpath $flags -ldflags "$stamps" \
    -o "$2/$1.new" "$package" >"$2/build.log" 2>&1 &
  building=$!
  while kill -0 "$building" 2>/dev/null; do
    if [ $(($(now) - told)) -ge $every ]; then
      say "building $1, $(duration $(($(now) - started))) so far"
      told=$(now)
    fi
    sleep 1
  done
  wait "$building" && code=0 || code=$?
  if [ "$code" -ne 0 ]; then
    tail -n 20 "$2/build.log" >&2
    die "go build failed with status $code; the whole log is $2/build.log"
  fi
  building=''
  mv -f "$2/$1.new" "$2/$1"
}

directories=''
for tool in ${*:-helm helm-unittest kubeconform promtool cert-manager prometheus-operator}; do
  describe "$tool"
  set -- "$(sources "$tool")"
  for file in "$1"/*.go; do [ ! -f "$file" ] || set -- "$@" "$file"; done
  key=$({ cat "$1/go.mod" "$1/go.sum" && shift && cat /dev/null "$@" && printf '%s' "$flags $stamps"; } | sha256 | cut -c1-16)
  directory=$cache/$tool/$key
  is_there "$tool" "$directory" || build "$tool" "$directory"
  directories=$directories${directories:+:}$directory
done
echo "$directories"
