#!/bin/sh
# Lab `macvlans`. Plan: 0 to add, 0 to change, 16 to destroy.
# Commands of iproute2 6.1 that make the same changes as `topo apply`.
set -e

# b
ip -n b link delete dev m3

# host
ip link delete dev m5

# a
ip netns delete a

# b
ip netns delete b
