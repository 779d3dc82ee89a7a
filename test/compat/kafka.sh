#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A real Apache Kafka beside varve: the oracle of the compatibility programs, the writer of the log directories that
# varve must open, and the tools that must understand varve's. Owns the jars in the cache folder and what it is told
# to put in DIR; it keeps DIR when it stops, so that another broker can open it.
#   kafka.sh install             jars into $VARVE_COMPAT_CACHE/kafka-VERSION; prints that folder
#   kafka.sh start DIR PORT      one KRaft broker on 127.0.0.1:PORT (its controller on PORT+1) over DIR/log; prints its pid
#   kafka.sh stop DIR            ends it gracefully; DIR stays
#   kafka.sh kill DIR            ends it at once; DIR stays
#   kafka.sh tool CLASS ARG...   one of Kafka's tools, e.g. org.apache.kafka.tools.TopicCommand
# KAFKA_EXTRA: further lines for server.properties.   KAFKA_HEAP: heap of the broker (512m).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${VARVE_COMPAT_CACHE:-$HOME/.cache/varve-compat}
pom=$here/kafka/pom.xml
version=$(sed -n 's/.*<artifactId>kafka_2.13<.*<version>\([^<]*\)<.*/\1/p' "$pom")
lib=$cache/kafka-$version

install() {
  [ -f "$lib/.installed" ] && cmp -s "$pom" "$lib/pom.xml" && return
  mkdir -p "$lib"
  cp "$pom" "$lib/pom.xml"
  mvn -q -B -Dstyle.color=never -f "$lib/pom.xml" org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
    -DoutputDirectory="$lib" >&2
  touch "$lib/.installed"
}

run_tool() { java -Xshare:auto -XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.defaultLogLevel="${KAFKA_LOG:-error}" -cp "$lib/*" "$@"; }

accepts() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

start() {
  local dir=$1 port=$2 pid
  mkdir -p "$dir"
  cat >"$dir/server.properties" <<CONF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$((port + 1))
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$((port + 1))
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs=$dir/log
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
${KAFKA_EXTRA:-}
CONF
  if [ ! -f "$dir/log/meta.properties" ]; then
    run_tool kafka.tools.StorageTool format -t "$(run_tool kafka.tools.StorageTool random-uuid | tail -1)" \
      -c "$dir/server.properties" >"$dir/format.log" 2>&1
  fi
  # A session of its own: it goes on when whoever called this script is gone.
  setsid java -Xms"${KAFKA_HEAP:-512m}" -Xmx"${KAFKA_HEAP:-512m}" -XX:+UseG1GC -Dorg.slf4j.simpleLogger.defaultLogLevel=warn \
    -cp "$lib/*" kafka.Kafka "$dir/server.properties" >>"$dir/broker.log" 2>&1 </dev/null &
  pid=$!
  echo "$pid" >"$dir/pid"
  for _ in $(seq 600); do
    accepts "$port" && { echo "$pid"; return; }
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  echo "Apache Kafka did not come up on port $port; the end of $dir/broker.log:" >&2
  tail -n 20 "$dir/broker.log" >&2
  kill -9 "$pid" 2>/dev/null || true
  return 1
}

end() {
  local dir=$1 signal=$2 pid
  [ -f "$dir/pid" ] || return 0
  pid=$(cat "$dir/pid")
  kill "-$signal" "$pid" 2>/dev/null || true
  for _ in $(seq 300); do
    kill -0 "$pid" 2>/dev/null || { rm -f "$dir/pid"; return 0; }
    sleep 0.1
  done
  echo "Apache Kafka, pid $pid, did not end within 30 s" >&2
  return 1
}

case ${1:-} in
install) install && echo "$lib" ;;
start) install && start "$2" "$3" ;;
stop) end "$2" TERM ;;
kill) end "$2" KILL ;;
tool) install && run_tool "${@:2}" ;;
*) sed -n '2,13p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
