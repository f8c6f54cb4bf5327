# Runs a server until nobody has held a lease on it for a while, then removes its data.
#
#   supervise.sh FOLDER DATA URL COMMAND...
#
# Every test process holds a shared lock on FOLDER/lease as long as it lives, however it ends; when
# the exclusive lock can be had a few times in a row, no test is left.
folder=$1 data=$2 url=$3
shift 3

"$@" >>"$data.log" 2>&1 </dev/null &
server=$!

exec 9>>"$folder/lease"
idle=0
while kill -0 "$server" 2>/dev/null; do
    sleep 5
    if flock --nonblock --exclusive 9; then
        idle=$((idle + 1))
        # The lock is kept, so that a test which starts now waits for the end and starts anew.
        [ "$idle" -lt 4 ] || break
        flock --unlock 9
    else
        idle=0
    fi
done

[ "$(cat "$folder/address" 2>/dev/null)" != "$url" ] || rm -f "$folder/address"
kill -INT "$server" 2>/dev/null
wait "$server"
rm -rf "$data" "$data.log"
