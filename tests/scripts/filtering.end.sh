#!/bin/sh
# Lab `filtering`. Plan: 0 to add, 0 to change, 10 to destroy.
# Commands of iproute2 6.1 that make the same changes as `topo apply`.
set -e

# a
ip netns delete a

# b
ip netns delete b
