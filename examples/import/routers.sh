#!/bin/sh
# Two hosts, two routers between them, by ip(8). `topo import examples/import/routers.sh` turns it into a lab file.
set -e

for node in pc1 r1 r2 pc2; do
  ip netns add $node
  ip -n $node link set lo up
done

connect() { # NODE INTERFACE NODE INTERFACE
  ip -n $1 link add $2 type veth peer name $4 netns $3
  ip -n $1 link set $2 up
  ip -n $3 link set $4 up
}
connect pc1 eth1 r1 eth1
connect r1 eth2 r2 eth2
connect r2 eth1 pc2 eth1

address() { # NODE INTERFACE IPV4 IPV6
  ip -n $1 address add $3 dev $2
  ip -n $1 address add $4 dev $2
}
address pc1 eth1 10.1.0.2/24 2001:db8:1::2/64
address r1 eth1 10.1.0.1/24 2001:db8:1::1/64
address r1 eth2 10.0.0.1/30 2001:db8::1/64
address r2 eth2 10.0.0.2/30 2001:db8::2/64
address r2 eth1 10.2.0.1/24 2001:db8:2::1/64
address pc2 eth1 10.2.0.2/24 2001:db8:2::2/64

for router in r1 r2; do
  ip netns exec $router sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'
done

route() { # NODE DESTINATION GATEWAY
  ip -n $1 route add $2 via $3
}
route pc1 default 10.1.0.1
route pc2 default 10.2.0.1
route r1 10.2.0.0/24 10.0.0.2
route r2 10.1.0.0/24 10.0.0.1
ip -n pc1 -6 route add default via 2001:db8:1::1
ip -n pc2 -6 route add default via 2001:db8:2::1
ip -n r1 route add 2001:db8:2::/64 via 2001:db8::2
ip -n r2 route add 2001:db8:1::/64 via 2001:db8::1
