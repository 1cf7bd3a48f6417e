#!/bin/sh
# Lab `macvlans`. Plan: 16 to add, 0 to change, 0 to destroy.
# Commands of iproute2 6.1 that make the same changes as `topo apply`.
# Aliases, groups and the protocol 116 mark what is the lab's, so that topo recognises it afterwards.
set -e
host=/proc/$$/ns/net

# a
ip netns add a
ip -n a link set dev lo alias topo:macvlans/a
ip -n a link set dev lo up

# b
ip netns add b
ip -n b link set dev lo alias topo:macvlans/b
ip -n b link set dev lo up

# a
ip -n a link add name far0 numtxqueues 1 numrxqueues 1 type veth peer name u0 numtxqueues 1 numrxqueues 1
ip -n a link set dev far0 up
ip -n a link add name far1 numtxqueues 1 numrxqueues 1 type veth peer name u1 numtxqueues 1 numrxqueues 1
ip -n a link set dev far1 up
ip -n a link add name far2 numtxqueues 1 numrxqueues 1 type veth peer name u2 numtxqueues 1 numrxqueues 1
ip -n a link set dev far2 up

# b
ip -n a link add link u0 name m0 netns b type macvlan mode source bcqueuelen 500 macaddr set 02:00:00:00:00:07 02:00:00:00:00:08
ip -n a link add link u0 name m1 netns b address 02:00:00:00:00:09 type macvlan mode private
ip -n a link add link u1 name m2 netns b type macvlan mode passthru nopromisc
ip link add link eth0 name m3 netns b type macvlan
ip -n b link set dev m3 up
ip -n a link add link u0 name m4 netns b type macvlan mode source
ip -n a link add link u2 name m6 netns b type macvtap mode source bcqueuelen 500 macaddr set 02:00:00:00:00:07
ip -n a link add link u2 name m7 netns b numtxqueues 2 numrxqueues 3 type macvtap mode bridge

# host
ip -n a link add link u0 name m5 netns "$host" group 1379278386 type macvlan mode bridge
ip link set dev m5 alias topo:macvlans

# a
ip -n a link set dev u0 up
ip -n a link set dev u1 up
ip -n a link set dev u2 up

# b
ip -n b link set dev m0 up
ip -n b link set dev m1 up
ip -n b link set dev m2 up
ip -n b link set dev m4 up
ip -n b link set dev m6 up
ip -n b link set dev m7 up

# host
ip link set dev m5 up
