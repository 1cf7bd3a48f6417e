#!/bin/sh
# Lab `vlans`. Plan: 17 to add, 0 to change, 0 to destroy.
# Commands of iproute2 6.1 that make the same changes as `topo apply`.
# Aliases, groups and the protocol 116 mark what is the lab's, so that topo recognises it afterwards.
set -e

# a
ip netns add a
ip -n a link set dev lo alias topo:vlans/a
ip -n a link set dev lo up
ip -n a link add name br0 mtu 1500 type bridge
ip -n a link set dev br0 up
ip -n a link add name d0 arp on type dummy
ip -n a link set dev d0 up
ip -n a link add name f0 numtxqueues 4 numrxqueues 1 type ifb
ip -n a link set dev f0 up
ip -n a link add name far0 numtxqueues 1 numrxqueues 1 type veth peer name u0 numtxqueues 1 numrxqueues 1
ip -n a link set dev far0 up
ip -n a link add name far1 numtxqueues 1 numrxqueues 1 type veth peer name u1 numtxqueues 1 numrxqueues 1
ip -n a link set dev far1 up
ip -n a link add name far2 numtxqueues 1 numrxqueues 1 type veth peer name u2 numtxqueues 1 numrxqueues 1
ip -n a link set dev far2 up
ip -n a link add link u1 name i0 type ipvlan mode l2 private
ip -n a link add link u2 name i1 type ipvtap mode l3s vepa
ip -n a link add link u0 name v0 type vlan id 10 reorder_hdr off gvrp on mvrp on loose_binding on
ip -n a link add link u0 name v1 type vlan id 11 protocol 802.1ad
ip -n a link add link br0 name v2 mtu 1500 type vlan id 12 bridge_binding on
ip -n a link set dev v2 up
ip -n a link add link u0 name v3 type vlan id 13 ingress-qos-map 1:5 2:6 egress-qos-map 70000:7
ip -n a link set dev u0 up
ip -n a link set dev u1 up
ip -n a link set dev i0 up
ip -n a link set dev u2 up
ip -n a link set dev i1 up
ip -n a link set dev v0 up
ip -n a link set dev v1 down
ip -n a link set dev v3 up
ip -n a address add 192.0.2.1/32 dev d0
