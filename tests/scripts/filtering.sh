#!/bin/sh
# Lab `filtering`. Plan: 3 to add, 0 to change, 0 to destroy.
# Commands of iproute2 6.1 that make the same changes as `topo apply`.
# Aliases, groups and the protocol 116 mark what is the lab's, so that topo recognises it afterwards.
set -e

# a
ip netns add a
ip -n a link set dev lo alias topo:filtering/a
ip -n a link set dev lo up
ip -n a link add name br0 mtu 1500 type bridge vlan_filtering 1 vlan_protocol 802.1ad vlan_default_pvid 7 vlan_stats_enabled 1
ip -n a link set dev br0 up
ip -n a link add name br1 mtu 1500 type bridge nf_call_iptables 1 nf_call_ip6tables 1 nf_call_arptables 1
ip -n a link set dev br1 up
