#!/bin/bash
# Runs a script as the first process of private namespaces (mounts, network, pids, cgroups, ...): it and all that it starts see
# nothing of this machine but its files, and the machine nothing of them. When it ends, however, nothing of it is left.
#
#   e2e/namespaces/enter.sh SCRIPT [ARGUMENT...]
#
# The script begins with `source machine.sh`. Needs Linux and root; where the machine can't do it, it says why and ends with 77.
# After a failure the logs are in ARCANE_E2E_LOGS, if that is set.
set -euo pipefail

say() { printf '%s\n' "namespaces: $*" >&2; }
cannot() {
  say "can't run here: $*"
  exit 77
}

[ "$(uname -s)" = Linux ] || cannot "this is $(uname -s), not Linux"
[ "$(id -u)" = 0 ] || cannot "it needs root (sudo) for namespaces, mounts and cgroups"
unshare --mount --net --pid --cgroup --ipc --uts --fork true 2>/dev/null ||
  cannot "even root may not make namespaces here (a container without --privileged?)"

# remove_cgroups FILE: those that are listed in a file of lines "<controller> <directory>"
remove_cgroups() {
  local left=''
  for _ in $(seq 50); do # the kernel takes a moment to empty them
    left=''
    while read -r _ directory; do
      find "$directory" -depth -type d -exec rmdir {} + 2>/dev/null || true
      if [ -d "$directory" ]; then left="$left $directory"; fi
    done <"$1"
    [ -n "$left" ] || return 0
    sleep 0.1
  done
  say "these cgroups are left:$left"
}

# What a run has left behind that was killed by SIGKILL: its processes have ended, see inside.sh.
for old in "${TMPDIR:-/tmp}"/arcane-ns-*; do
  if [ -f "$old/run/pid" ] && ! kill -0 "$(cat "$old/run/pid")" 2>/dev/null; then
    say "removing what a killed run has left: $old"
    [ ! -f "$old/run/cgroups" ] || remove_cgroups "$old/run/cgroups"
    rm -rf --one-file-system "$old"
  fi
done

state=$(mktemp -d "${TMPDIR:-/tmp}/arcane-ns-XXXXXX")
group=${state##*/}
mkdir "$state/logs" "$state/run"
echo $$ >"$state/run/pid"
cgroups=$state/run/cgroups
first=''

# Whatever ends this ends everything: with the first process of a pid namespace the kernel kills all others in it, and with
# the last process of a mount namespace its mounts have gone.
cleanup() {
  code=$?
  trap '' INT TERM HUP
  if [ -n "$first" ]; then
    kill -KILL "$first" 2>/dev/null || true
    wait "$first" 2>/dev/null || true
  fi
  if [ "$code" != 0 ] && [ -n "${ARCANE_E2E_LOGS:-}" ]; then
    mkdir -p "$ARCANE_E2E_LOGS"
    cp -r "$state/logs/." "$ARCANE_E2E_LOGS/" 2>/dev/null && say "the logs are in $ARCANE_E2E_LOGS"
  fi
  [ ! -f "$cgroups" ] || remove_cgroups "$cgroups"
  rm -rf --one-file-system "$state" || true
  exit "$code"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

# One cgroup in each hierarchy (version 1), or one (version 2), below the one this process is in.
if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
  echo "unified /sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup | sed 's|/$||')/$group" >"$cgroups"
else
  while IFS=: read -r _ controller path; do
    controller=${controller#name=}
    if [ -n "$controller" ] && [ -d "/sys/fs/cgroup/$controller" ]; then
      echo "$controller /sys/fs/cgroup/$controller${path%/}/$group"
    fi
  done </proc/self/cgroup >"$cgroups"
fi
while read -r controller directory; do
  mkdir "$directory" || cannot "no cgroup can be made in ${directory%/*}"
  if [ "$controller" = cpuset ]; then # it begins empty, and nothing may enter it then
    for file in cpuset.cpus cpuset.mems; do cat "${directory%/*}/$file" >"$directory/$file"; done
  fi
done <"$cgroups"

# Only we hold the other end of this: when we end in whatever way, the inside sees it.
mkfifo "$state/run/owner"
exec 4<>"$state/run/owner"
exec 3<&0 # what is started beside the shell has no input otherwise
(
  while read -r _ directory; do echo "$BASHPID" >"$directory/cgroup.procs"; done <"$cgroups"
  export ARCANE_NAMESPACES=$state
  exec unshare --mount --net --pid --cgroup --ipc --uts --fork --kill-child=KILL --mount-proc \
    --propagation private bash "$@"
) <&3 4>&- &
first=$!
code=0
wait "$first" || code=$?
first=''
exit "$code"
