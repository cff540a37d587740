#!/bin/bash
# The pod network of one node, in place of kindnetd: a bridge-less pair of interfaces per pod (ptp), addresses from the
# node's own range, a route to every other node's range, and masquerading of what leaves the pod network.
# Network policies are not enforced.
account=/var/run/secrets/kubernetes.io/serviceaccount
config=/etc/cni/net.d

nodes() {
  curl -fsS --max-time 10 --cacert "$account/ca.crt" -H "Authorization: Bearer $(cat "$account/token")" \
    "https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT/api/v1/nodes"
}

masquerade() {
  iptables -t nat -N POD-NETWORK 2>/dev/null
  iptables -t nat -F POD-NETWORK
  iptables -t nat -A POD-NETWORK -d "$POD_SUBNET" -j RETURN
  iptables -t nat -A POD-NETWORK -s "$POD_SUBNET" -j MASQUERADE
  iptables -t nat -C POSTROUTING -j POD-NETWORK 2>/dev/null || iptables -t nat -A POSTROUTING -j POD-NETWORK
}

write_config() { # $1: this node's range
  [ -s "$config/10-pod-network.conflist" ] && return
  jq -n --arg range "$1" '{
    cniVersion: "0.3.1", name: "pod-network", plugins: [
      {type: "ptp", ipMasq: false, mtu: 1500, ipam: {type: "host-local", dataDir: "/run/pod-network",
        routes: [{dst: "0.0.0.0/0"}], ranges: [[{subnet: $range}]]}},
      {type: "portmap", capabilities: {portMappings: true}}]}' >"$config/.unfinished"
  mv "$config/.unfinished" "$config/10-pod-network.conflist"
}

masquerade
rounds=0
while :; do
  if seen=$(nodes); then
    own=$(jq -r --arg name "$NODE_NAME" '.items[] | select(.metadata.name == $name) | .spec.podCIDR // empty' <<<"$seen")
    [ -n "$own" ] && write_config "$own"
    jq -r --arg name "$NODE_NAME" '.items[] | select(.metadata.name != $name and .spec.podCIDR)
      | [.spec.podCIDR, (.status.addresses[] | select(.type == "InternalIP") | .address)] | @tsv' <<<"$seen" |
      while read -r range address; do ip route replace "$range" via "$address"; done
  fi
  rounds=$((rounds + 1))
  [ "$rounds" -lt 60 ] && sleep 2 || sleep 20 # quick while the cluster comes up
done
