#!/bin/sh
# Lab `settings`. Plan: 18 to add, 0 to change, 0 to destroy.
# Commands of iproute2 6.1 that make the same changes as `topo apply`.
# Aliases, groups and the protocol 116 mark what is the lab's, so that topo recognises it afterwards.
set -e

# a
ip netns add a
ip -n a link set dev lo alias topo:settings/a
ip -n a link set dev lo up
ip netns exec a sysctl -q -w net/ipv4/ip_forward=1
ip netns exec a sysctl -q -w 'net/ipv4/ip_local_port_range=20000 30000'
ip netns exec a sysctl -q -w net/ipv6/conf/default/accept_ra=0

# b
ip netns add b
ip -n b link set dev lo alias topo:settings/b
ip -n b link set dev lo up

# a
ip -n a link add name e0 address 02:00:00:00:00:01 mtu 1400 txqueuelen 50 arp off multicast off allmulticast on promisc on numtxqueues 1 numrxqueues 1 type veth peer name e0 netns b mtu 1400 numtxqueues 1 numrxqueues 1
ip -n a link add name e1.5 numtxqueues 1 numrxqueues 1 type veth peer name e1 netns b numtxqueues 1 numrxqueues 1

# b
ip link add name h0 netns b mtu 1300 numtxqueues 1 numrxqueues 1 type veth peer name h0 address 02:00:00:00:00:0f mtu 1300 numtxqueues 1 numrxqueues 1 group 1745255176
ip -n b link set dev h0 up
ip link set dev h0 alias topo:settings up

# a
ip netns exec a sysctl -q -w net/ipv4/conf/e0/rp_filter=0
ip netns exec a sysctl -q -w net/ipv4/conf/e1.5/rp_filter=2
ip netns exec a sysctl -q -w net/ipv4/neigh/e0/gc_stale_time=50
ip netns exec a sysctl -q -w net/ipv6/conf/e0/accept_ra=0
ip -n a link set dev e0 up
ip -n a link property add dev e0 altname e-zero
ip -n a link property add dev e0 altname first-uplink-of-a
ip -n a link set dev e1.5 down
ip -n a link set dev lo mtu 9000
ip -n a address add 127.0.0.2/8 dev lo
ip -n a address add 2001:db8:1::1/128 dev lo

# b
ip -n b link set dev e0 up
ip -n b link set dev e1 up

# host
ip link property add dev h0 altname of-the-host
