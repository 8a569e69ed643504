#!/bin/bash
# Builds both images by their Dockerfiles, and looks at what has come out:
#
#   e2e/dockerfiles.sh
#
# With docker, where it answers and can pull the base image; else with buildah (root), in a base image made here: Debian by
# debootstrap, with the Rust of this machine. Takes about as long as two release builds.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
say() { printf '%s\n' "images: $*" >&2; }
fail() { say "$*"; exit 1; }

work=$(mktemp -d)
containers=""
cleanup() {
  code=$?
  for container in $containers; do buildah rm "$container" >/dev/null 2>&1 || true; done
  rm -rf "$work"
  exit "$code"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

# look NAME ROOT USER: what is in the image, and whether it runs with nothing around it
look() {
  local name=$1 root=$2 user=$3
  [ "$user" = 65532:65532 ] || fail "$name runs as '$user'"
  [ "$(cd "$root" && find . -type f | sort | tr '\n' ' ')" = "./LICENSE ./$name " ] || fail "$name holds: $(find "$root")"
  sh e2e/look-at-binary.sh "$root/$name" || exit 1
  say "$name: one static binary of $(($(stat -c %s "$root/$name") / 1000000)) MB, user $user"
}

with_docker() {
  docker pull "$(sed -n 's/^ARG RUST_IMAGE=//p' Dockerfile.controller)" >/dev/null 2>&1 || return 1
  for name in arcane-controller arcane-webhook; do
    docker build -f "Dockerfile.${name#arcane-}" -t "$name" . || fail "$name could not be built"
    container=$(docker create "$name")
    mkdir "$work/$name"
    docker export "$container" | tar -x -C "$work/$name" "$name" LICENSE
    docker rm "$container" >/dev/null
    look "$name" "$work/$name" "$(docker inspect -f '{{.Config.User}}' "$name")"
  done
}

# The base image that can't be pulled. What is in it doesn't get into the images.
base=localhost/arcane-rust:1
make_base() {
  ! buildah images -q "$base" >/dev/null 2>&1 || return 0
  say "making a base image: Debian by debootstrap and the Rust of this machine"
  # shellcheck disable=SC1091 # which Debian this is
  suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-bookworm}")
  debootstrap --variant=minbase --include=gcc,libc6-dev,ca-certificates "$suite" "$work/base" >"$work/debootstrap.log" ||
    fail "debootstrap failed: $(tail -n 3 "$work/debootstrap.log")"
  mkdir -p "$work/base/usr/local/rust" "$work/base/usr/local/cargo"
  cp -a "$(rustc --print sysroot)/." "$work/base/usr/local/rust/"
  rm -rf "$work/base/usr/local/rust/share" "$work/base/var/cache/apt"
  cp /etc/ssl/certs/ca-certificates.crt "$work/base/etc/ssl/certs/" # who signs for the registry here
  container=$(buildah from scratch)
  containers=$container
  buildah add -q "$container" "$work/base" / >/dev/null
  buildah config --env PATH=/usr/local/rust/bin:/usr/bin:/bin --env CARGO_HOME=/usr/local/cargo "$container"
  buildah commit -q "$container" "$base" >/dev/null
  rm -rf "$work/base"
}

with_buildah() {
  [ "$(id -u)" = 0 ] || fail "docker can't be used here; buildah needs root"
  for pair in buildah:buildah debootstrap:debootstrap readelf:binutils; do
    command -v "${pair%%:*}" >/dev/null || fail "missing: apt-get install ${pair#*:}"
  done
  make_base
  for name in arcane-controller arcane-webhook; do
    say "buildah builds $name"
    # In this root's own namespaces, so that RUN reaches the package registry as this machine does.
    buildah bud --isolation chroot --network host --pull-never --build-arg "RUST_IMAGE=$base" \
      -f "Dockerfile.${name#arcane-}" -t "localhost/$name" . || fail "$name could not be built"
    container=$(buildah from --pull-never "localhost/$name")
    containers="$containers $container"
    look "$name" "$(buildah mount "$container")" "$(buildah inspect --format '{{.OCIv1.Config.User}}' "$container")"
    buildah umount "$container" >/dev/null
  done
}

if docker info >/dev/null 2>&1 && with_docker; then exit 0; fi
say "docker doesn't answer or can't pull: buildah, then"
with_buildah
