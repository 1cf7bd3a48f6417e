#!/bin/sh
# Lab `filtering`. Plan: 10 to add, 0 to change, 0 to destroy.
# Commands of iproute2 6.1 that make the same changes as `topo apply`.
# Aliases, groups and the protocol 116 mark what is the lab's, so that topo recognises it afterwards.
set -e

# a
ip netns add a
ip -n a link set dev lo alias topo:filtering/a
ip -n a link set dev lo up

# b
ip netns add b
ip -n b link set dev lo alias topo:filtering/b
ip -n b link set dev lo up

# a
ip -n a link add name br0 mtu 1500 type bridge vlan_filtering 1 vlan_protocol 802.1ad vlan_default_pvid 7 vlan_stats_enabled 1
bridge -n a vlan add dev br0 vid 5 self pvid untagged
bridge -n a vlan add dev br0 vid 10-12 self
bridge -n a vlan del dev br0 vid 7 self
ip -n a link add name br1 mtu 1500 type bridge nf_call_iptables 1 nf_call_ip6tables 1 nf_call_arptables 1
ip -n a link set dev br1 up
ip -n a link add name p0 numtxqueues 1 numrxqueues 1 master br0 type veth peer name p0 netns b numtxqueues 1 numrxqueues 1
ip -n a link set dev p0 up
ip -n a link add name p1 numtxqueues 1 numrxqueues 1 master br0 type veth peer name p1 netns b numtxqueues 1 numrxqueues 1
ip -n a link set dev p1 up
ip -n a link add name p2 numtxqueues 1 numrxqueues 1 master br0 type veth peer name p2 netns b numtxqueues 1 numrxqueues 1
ip -n a link set dev p2 up

# b
ip -n b link set dev p0 up
ip -n b link set dev p1 up
ip -n b link set dev p2 up

# a
ip -n a link set dev br0 up
bridge -n a vlan add dev p0 vid 10 pvid untagged
bridge -n a vlan del dev p0 vid 7
bridge -n a vlan add dev p1 vid 7 pvid
bridge -n a vlan add dev p1 vid 8-9 untagged
bridge -n a vlan add dev p1 vid 10-12
bridge -n a vlan add dev p1 vid 4000
ip -n a link set dev p2 type bridge_slave vlan_tunnel on
bridge -n a vlan add dev p2 vid 20-22
bridge -n a vlan add dev p2 vid 20-22 tunnel_info id 1020-1022
bridge -n a vlan del dev p2 vid 7
