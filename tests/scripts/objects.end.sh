#!/bin/sh
# Lab `objects`. Plan: 0 to add, 0 to change, 54 to destroy.
# Commands of iproute2 6.1 that make the same changes as `topo apply`.
set -e

# host
ip neighbor delete 192.0.2.77 dev eth0
ip rule delete from 192.0.2.0/24 priority 500 table 77 protocol 116
ip route delete 198.51.100.0/24 via 192.0.2.10 dev eth0 proto 116 scope global
ip address delete 192.0.2.9/24 dev eth0
ip address delete 2001:db8:99::1/64 dev eth0

# a
ip netns delete a

# b
ip netns delete b
