#!/bin/sh
# The first process of a container that holds one node; the environment is that of mongooseim-docker.
#
#   NODE_TYPE       sname (default) or name
#   NODE_NAME       mongooseim
#   NODE_HOST       the host's name: hostname -s, and -f of a long name
#   CLUSTER_COOKIE  the same in all containers of the cluster
#   CLUSTER_WITH    a node to join; JOIN_CLUSTER=false: stand alone
#   HTTP_LISTEN     where the pages are for probes and balancers: 0.0.0.0:5280
#   MONGOOSEIM_DIR  the node's folder, a volume: /var/lib/mongooseim
#
# A node joins once: who is a member is in the folder, and a second start does not ask again.
set -eu

export HTTP_LISTEN="${HTTP_LISTEN:-0.0.0.0:5280}"
export MONGOOSEIM_DIR="${MONGOOSEIM_DIR:-/var/lib/mongooseim}"
ctl=$MONGOOSEIM_DIR/bin/mongooseimctl

mongooseim init "$MONGOOSEIM_DIR" >/dev/null
if [ -n "${CLUSTER_WITH:-}" ] && [ "${JOIN_CLUSTER:-true}" = true ] &&
   [ ! -e "$MONGOOSEIM_DIR/data/joined" ]; then
  "$ctl" start
  "$ctl" started
  "$ctl" status
  "$ctl" join_cluster -f "$CLUSTER_WITH"
  "$ctl" stop
  touch "$MONGOOSEIM_DIR/data/joined"
fi
exec "$MONGOOSEIM_DIR/bin/mongooseim" live
