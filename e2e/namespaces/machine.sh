# shellcheck shell=bash
# Sourced by the first process in the namespaces that enter.sh makes; when that ends, the kernel ends all others. Makes of them a
# machine of its own, by the name in $machine, and gives
#   $state, $logs, $run  directories that go with the namespaces
#   $machine_ip          its address; there is no way to any other network
#   descriptor 3         the input of whoever called enter.sh
#   say, since, fail, start, wait_for
state=$ARCANE_NAMESPACES logs=$ARCANE_NAMESPACES/logs run=$ARCANE_NAMESPACES/run
machine_ip=10.210.0.1

exec 3<&0

# Whoever started us has the other end of this pipe. A first process hears only the signals that it listens to.
trap 'exit 143' TERM
{
  read -r _ || true
  kill -TERM 1
} <"$run/owner" 2>/dev/null &

say() { printf '%s\n' "$machine: $*" >&2; }
started=$(date +%s)
since() { echo "$(($(date +%s) - started)) s"; }

# fail WHAT LOG
fail() {
  say "$1; the end of $2.log:"
  tail -n 25 "$logs/$2.log" >&2 || true
  exit 1
}
# start NAME COMMAND...
start() {
  local name=$1
  shift
  "$@" >"$logs/$name.log" 2>&1 </dev/null &
  echo $! >"$run/$name.pid"
}
# wait_for SECONDS WHAT NAME COMMAND...: until COMMAND succeeds; the process NAME is the one to do it
wait_for() {
  local deadline=$(($(date +%s) + $1)) what=$2 name=$3
  shift 3
  until "$@" >/dev/null 2>&1; do
    kill -0 "$(cat "$run/$name.pid")" 2>/dev/null || fail "$name has ended before there was a $what" "$name"
    [ "$(date +%s)" -lt "$deadline" ] || fail "still no $what" "$name"
    sleep 0.2
  done
}

# --- A machine of its own ---------------------------------------------------------------------------------------------------
hostname "$machine"
mount --make-rshared / # the kubelet hands mounts on to pods
mount -t sysfs sysfs /sys
if grep -q '^unified ' "$run/cgroups"; then
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
  # A group that hands controllers on may have no processes itself.
  mkdir /sys/fs/cgroup/first
  while read -r pid; do echo "$pid" >/sys/fs/cgroup/first/cgroup.procs 2>/dev/null || true; done </sys/fs/cgroup/cgroup.procs
  for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control; done
else
  mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup
  while read -r controller _; do
    mkdir "/sys/fs/cgroup/$controller"
    options=$controller
    if [ "$controller" = systemd ]; then options=none,name=systemd; fi
    mount -t cgroup -o "$options" cgroup "/sys/fs/cgroup/$controller"
  done <"$run/cgroups"
fi
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/containerd /run/netns /run/lock
# The kubelet sets some settings of the whole machine. It gets files that look like them, with what it wants already there.
mkdir "$state/settings"
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
  kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
  file=${setting%=*}
  echo "${setting#*=}" >"$state/settings/${file//\//-}"
  mount --bind "$state/settings/${file//\//-}" "/proc/sys/$file"
done
# The machine's address is on a cable whose two ends are both in here: there is no way out.
ip link set lo up
ip link add node0 type veth peer name node1
ip address add "$machine_ip/24" dev node0
ip link set node0 up
ip link set node1 up
ip route add default dev node0
echo 1 >/proc/sys/net/ipv4/ip_forward
