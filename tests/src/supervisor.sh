# Runs the processes of one owner, and ends them when the owner ends. Its stdin is a pipe that only the owner holds:
# when that is closed, by the owner or by its death, everything goes, and the directory last.
#
#   $1            the directory; run/NAME is a script that becomes the process NAME, run/NAME.log gets what it writes
#   run/NAME.pid  its pid
#   run/NAME.exit its exit status, once it has ended (128+n: by signal n)
#
# Lines of stdin: "start NAME", "signal SIGNAL NAME".
directory=$1
cd / || exit 1

start() {
  (
    trap - TERM HUP INT
    sh "$directory/run/$1" </dev/null >"$directory/run/$1.log" 2>&1 &
    echo $! >"$directory/run/$1.pid.new" && mv "$directory/run/$1.pid.new" "$directory/run/$1.pid"
    wait $!
    echo $? >"$directory/run/$1.exit.new" && mv "$directory/run/$1.exit.new" "$directory/run/$1.exit"
  ) &
}

# signal SIGNAL NAME: only a process that has not ended, so its pid is still its own
signal() {
  [ -f "$directory/run/$2.exit" ] || kill "-$1" "$(cat "$directory/run/$2.pid")"
}

all() {
  for file in "$directory"/run/*.pid; do
    [ -f "$file" ] || continue
    name=${file##*/}
    signal "$1" "${name%.pid}"
  done
}

any_left() {
  for file in "$directory"/run/*.pid; do
    [ -f "$file" ] || continue
    [ -f "${file%.pid}.exit" ] || return 0
  done
  return 1
}

end() {
  trap '' TERM HUP INT
  all TERM
  rounds=20
  while [ $rounds -gt 0 ] && any_left; do
    sleep 0.05
    rounds=$((rounds - 1))
  done
  all KILL
  wait
  rm -rf "$directory"
  exit 0
}
trap end TERM HUP INT

while read -r order argument name; do
  case $order in
    start) start "$argument" ;;
    signal) signal "$argument" "$name" ;;
  esac
done 2>/dev/null
end 2>/dev/null
