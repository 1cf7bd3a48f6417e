#!/bin/sh
# Lab `geneves`. Plan: 6 to add, 0 to change, 0 to destroy.
# Commands of iproute2 6.1 that make the same changes as `topo apply`.
# Aliases, groups and the protocol 116 mark what is the lab's, so that topo recognises it afterwards.
set -e

# a
ip netns add a
ip -n a link set dev lo alias topo:geneves/a
ip -n a link set dev lo up
ip -n a link add name g0 mtu 1450 type geneve id 42 remote 10.0.0.2 dstport 6082 ttl 9 tos 0x10 df set udpcsum
ip -n a link set dev g0 up
ip -n a link add name g1 mtu 1430 type geneve id 43 remote 2001:db8::2 ttl inherit flowlabel 77 udp6zerocsumtx udp6zerocsumrx
ip -n a link set dev g1 up
ip -n a link add name g2 mtu 65465 type geneve external dstport 6083
ip -n a link set dev g2 up
ip -n a link add name g3 mtu 1300 type geneve external dstport 6084 df inherit
ip -n a link set dev g3 up

# host
ip link add name g4 mtu 1450 group 1679878802 type geneve id 44 remote 10.0.0.3
ip link set dev g4 alias topo:geneves up
