#!/bin/sh
# Lab `late`. Plan: 8 to add, 0 to change, 0 to destroy.
# Commands of iproute2 6.1 that make the same changes as `topo apply`.
# Aliases, groups and the protocol 116 mark what is the lab's, so that topo recognises it afterwards.
set -e

# a
ip netns add a
ip -n a link set dev lo alias topo:late/a
ip -n a link set dev lo up

# b
ip netns add b
ip -n b link set dev lo alias topo:late/b
ip -n b link set dev lo up

# a
ip -n a link add name br0 mtu 1500 type bridge
ip -n a link add name p0 numtxqueues 1 numrxqueues 1 master br0 type veth peer name p0 netns b numtxqueues 1 numrxqueues 1
ip -n a link set dev p0 up
ip -n a link add name p1 numtxqueues 1 numrxqueues 1 master br0 type veth peer name p1 netns b numtxqueues 1 numrxqueues 1
ip -n a link set dev p1 up

# b
# needs iproute2 6.4: ip -n b link add link p0 name m0 type macvlan bclim -1
ip -n b link add link p0 name m0 type macvlan
ip -n b link set dev p0 up
ip -n b link set dev m0 up
ip -n b link set dev p1 up

# a
ip -n a link set dev br0 up
ip -n a link set dev p0 type bridge_slave locked on backup_port p1
# needs iproute2 6.3: bridge -n a link set dev p0 mcast_max_groups 5
# needs iproute2 6.4: bridge -n a link set dev p0 neigh_vlan_suppress on
# needs iproute2 6.2: bridge -n a link set dev p0 mab on
# needs iproute2 6.6: bridge -n a link set dev p0 backup_nhid 7
