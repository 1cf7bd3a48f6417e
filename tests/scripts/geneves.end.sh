#!/bin/sh
# Lab `geneves`. Plan: 0 to add, 0 to change, 6 to destroy.
# Commands of iproute2 6.1 that make the same changes as `topo apply`.
set -e

# host
ip link delete dev g4

# a
ip netns delete a
