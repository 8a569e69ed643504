#!/bin/bash
# Stands before runc where root itself lacks CAP_SYS_RESOURCE, as in some virtual machines: takes from what a container asks for
# that which nobody here can give. `docker run --privileged` asks for everything.
set -euo pipefail

modest='walk(if type == "array" then map(select(. != "CAP_SYS_RESOURCE")) else . end)
  | if .process then .process |= (del(.rlimits) | if (.oomScoreAdj // 0) < 0 then .oomScoreAdj = 0 else . end) else . end'
arguments=("$@") file=''
for ((at = 0; at < $#; at++)); do
  case ${arguments[at]} in
    --bundle | -b) file=${arguments[at + 1]}/config.json ;;
    --bundle=*) file=${arguments[at]#--bundle=}/config.json ;;
    --process | -p) file=${arguments[at + 1]} ;;
  esac
done
if [ -f "$file" ]; then
  jq "$modest" "$file" >"$file.modest"
  cat "$file.modest" >"$file"
  rm "$file.modest"
fi
exec /usr/sbin/runc "$@"
