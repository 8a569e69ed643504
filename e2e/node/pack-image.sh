#!/bin/sh
# Packs a binary into an image that holds nothing else, without a container engine, for tests. One that isn't static, as
# cargo builds it by default, comes with its libraries.
#
#   e2e/node/pack-image.sh ARCHIVE.tar BINARY USER NAME:TAG...
#   e2e/node/pack-image.sh ARCHIVE.tar DIRECTORY USER NAME:TAG...    all that is in the directory, nothing of which is started
#
# The archive can be loaded by docker, podman, kind and containerd. The same input gives the same bytes.
set -eu
archive=$1 binary=$2 user=$3
shift 3
case $(uname -m) in
  x86_64) architecture=amd64 ;;
  aarch64) architecture=arm64 ;;
  *) architecture=$(uname -m) ;;
esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
pack() { tar --create --format=ustar --sort=name --owner=0:0 --numeric-owner --mtime=@0 --directory "$1" --file "$2" .; }

mkdir -m 755 "$work/files" "$work/image"
if [ -d "$binary" ]; then
  files=$binary entrypoint=''
else
  name=$(basename "$binary") files=$work/files
  entrypoint="\"Entrypoint\": [\"/$name\"], "
  install -m 755 "$binary" "$files/$name"
  strip "$files/$name"
  ldd "$binary" 2>/dev/null | grep -o '/[^ ]*' | while read -r library; do
    install -D -m 755 "$library" "$files$library"
  done
fi
pack "$files" "$work/image/layer.tar"
layer=$(sha256sum <"$work/image/layer.tar" | cut -d' ' -f1)
cat >"$work/image/config.json" <<END
{"architecture": "$architecture", "os": "linux",
 "config": {"User": "$user", $entrypoint"WorkingDir": "/"},
 "rootfs": {"type": "layers", "diff_ids": ["sha256:$layer"]},
 "history": [{"created_by": "pack-image.sh"}]}
END
names=''
for tag in "$@"; do names="$names${names:+, }\"$tag\""; done
printf '[{"Config": "config.json", "RepoTags": [%s], "Layers": ["layer.tar"]}]\n' "$names" >"$work/image/manifest.json"
pack "$work/image" "$archive.new"
mv "$archive.new" "$archive"
