#!/bin/sh
# Lab `bridges`. Plan: 11 to add, 0 to change, 0 to destroy.
# Commands of iproute2 6.1 that make the same changes as `topo apply`.
# Aliases, groups and the protocol 116 mark what is the lab's, so that topo recognises it afterwards.
set -e

# Repeats a command that the kernel refuses for a while, at most $1 times, ten times a second.
retry() {
    attempts=$1
    shift
    until "$@" 2>/dev/null; do
        attempts=$((attempts - 1))
        if [ "$attempts" -le 0 ]; then
            "$@"
            return
        fi
        sleep 0.1
    done
}

# a
ip netns add a
ip -n a link set dev lo alias topo:bridges/a
ip -n a link set dev lo up

# b
ip netns add b
ip -n b link set dev lo alias topo:bridges/b
ip -n b link set dev lo up

# a
ip -n a link add name br0 address 02:00:00:00:00:01 mtu 1401 type bridge forward_delay 400 hello_time 300 max_age 1000 ageing_time 10000 stp_state 1 priority 4096 group_fwd_mask 8 group_address 01:80:c2:00:00:0e mcast_router 2 mcast_query_use_ifaddr 1 mcast_querier 1 mcast_hash_max 8192 mcast_last_member_count 3 mcast_startup_query_count 3 mcast_last_member_interval 200 mcast_membership_interval 26100 mcast_querier_interval 25600 mcast_query_interval 12600 mcast_query_response_interval 1100 mcast_startup_query_interval 3200 mcast_stats_enabled 1 mcast_igmp_version 3 mcast_mld_version 2
ip -n a link set dev br0 mtu 1400
ip -n a link add name br1 mtu 1500 type bridge forward_delay 0
ip -n a link add name p0 numtxqueues 1 numrxqueues 1 master br0 type veth peer name p0 netns b numtxqueues 1 numrxqueues 1
ip -n a link set dev p0 up
ip -n a link add name p1 numtxqueues 1 numrxqueues 1 master br0 type veth peer name p1 netns b numtxqueues 1 numrxqueues 1
ip -n a link set dev p1 up
ip -n a link add name q0 numtxqueues 1 numrxqueues 1 master br1 type veth peer name q0 netns b numtxqueues 1 numrxqueues 1
ip -n a link set dev q0 up

# b
ip -n b link set dev p0 up
ip -n b link set dev p1 up
ip -n b link set dev q0 up

# a
ip -n a link set dev br0 up
ip -n a link set dev br1 up
ip -n a link set dev p0 type bridge_slave cost 5 priority 7 learning off flood off mcast_flood off bcast_flood off hairpin on guard on root_block on fastleave on mcast_router 2 mcast_to_unicast on group_fwd_mask 16384 neigh_suppress on vlan_tunnel on isolated on locked on backup_port p1
retry 30 ip -n a link set dev q0 type bridge_slave state 1
ip -n a address add 10.0.0.1/24 dev br0
