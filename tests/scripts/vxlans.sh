#!/bin/sh
# Lab `vxlans`. Plan: 11 to add, 0 to change, 0 to destroy.
# Commands of iproute2 6.1 that make the same changes as `topo apply`.
# Aliases, groups and the protocol 116 mark what is the lab's, so that topo recognises it afterwards.
set -e
host=/proc/$$/ns/net

# a
ip netns add a
ip -n a link set dev lo alias topo:vxlans/a
ip -n a link set dev lo up

# b
ip netns add b
ip -n b link set dev lo alias topo:vxlans/b
ip -n b link set dev lo up

# a
ip -n a link add name far0 numtxqueues 1 numrxqueues 1 type veth peer name u0 numtxqueues 1 numrxqueues 1
ip -n a link set dev far0 up
ip -n a link add name x0 type vxlan id 42 remote 10.0.0.2 local 10.0.0.1 ttl 9 tos 0x10 nolearning ageing 100 maxaddress 50 srcport 5000 6000 proxy rsc l2miss l3miss dstport 4789 noudpcsum df set
ip -n a link set dev x0 up
ip -n a link add name x1 type vxlan id 43 remote 2001:db8::2 local 2001:db8::1 dstport 8472 udp6zerocsumtx flowlabel 77 df inherit
ip -n a link set dev x1 up
ip -n a link add name x2 type vxlan dev u0 id 44 group 239.0.0.1 dstport 4790
ip -n a link add name x3 type vxlan dstport 4791 udp6zerocsumrx gbp external vnifilter learning
ip -n a link set dev x3 up
ip link add name x4 netns a type vxlan id 45 dstport 4792
ip -n a link set dev x4 up

# b
ip -n a link add name x5 netns b type vxlan dev u0 id 46 remote 10.0.0.3 dstport 4793

# host
ip -n a link add name x6 netns "$host" mtu 1300 group 1606127527 type vxlan id 47 dstport 4794
ip link set dev x6 alias topo:vxlans up

# a
ip -n a link set dev u0 up
ip -n a link set dev x2 up

# b
ip -n b link set dev x5 up
