#!/bin/sh
# Lab `objects`. Plan: 54 to add, 0 to change, 0 to destroy.
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
ip -n a link set dev lo alias topo:objects/a
ip -n a link set dev lo up

# b
ip netns add b
ip -n b link set dev lo alias topo:objects/b
ip -n b link set dev lo up

# a
ip -n a link add name e0 numtxqueues 1 numrxqueues 1 type veth peer name e0 netns b numtxqueues 1 numrxqueues 1
ip -n a link set dev e0 up
ip -n a link add name e1 numtxqueues 1 numrxqueues 1 type veth peer name e1 netns b numtxqueues 1 numrxqueues 1
ip -n a link set dev e1 up
ip -n a address add 10.0.0.1/24 dev e0
ip -n a address add 2001:db8::1/64 dev e0 nodad
ip -n a address add 10.9.0.1/24 dev e1
ip -n a address add 2001:db8:9::1/64 dev e1
ip -n a address add 10.0.0.2/24 dev e0
ip -n a address add 2001:db8:2::1 peer 2001:db8:2::2/128 dev e0
ip -n a address add 10.1.0.1 peer 10.1.0.2/32 dev e0
ip -n a address add 2001:db8:3::1/64 dev e0 noprefixroute valid_lft 4000 preferred_lft 0
ip -n a address add 10.2.0.1/24 dev e0 broadcast 10.2.0.255 scope link label e0:two metric 50
ip -n a address add 2001:db8:4::1/64 dev e0
ip -n a address add 10.3.0.1/24 dev e0 noprefixroute valid_lft 5000 preferred_lft 4000
ip -n a route add unreachable 203.0.114.0/24 table 100
ip -n a route add throw 203.0.116.0/24 table 100
ip -n a route add 192.0.4.0/24 dev e0 scope host
ip -n a route add 198.51.101.0/24 scope link nexthop dev e0 weight 1 nexthop dev e1 weight 1
ip -n a route add blackhole 203.0.113.0/24 metric 7
ip -n a route add prohibit 203.0.115.0/24
ip -6 -n a route add unreachable 2001:db8:d::/48 metric 9
ip -6 -n a route add blackhole 2001:db8:e::/48
ip -n a route add local 203.0.117.0/24 dev lo table local
ip -n a route add default via 10.0.0.254 dev e0
ip -n a route add 192.0.2.0/24 via inet6 2001:db8::5 dev e0
ip -n a route add 198.51.100.0/24 scope global nexthop via 10.0.0.3 dev e0 weight 2 nexthop via 10.9.0.3 dev e1 weight 1
ip -6 -n a route add default via 2001:db8::fe dev e0
ip -6 -n a route add 2001:db8:f::/48 nexthop via 2001:db8::3 dev e0 weight 1 nexthop via 2001:db8:9::3 dev e1 weight 3
ip -n a route add 192.0.3.0/24 via 172.16.0.1 dev e0 onlink metric 20 table 1000 src 10.0.0.2 mtu 1200
ip -n a rule add from 10.0.0.0/24 to 10.9.0.0/24 priority 100 table 100 protocol boot
ip -n a rule add not iif e0 oif e1 fwmark 0x10/0xf0 priority 110 table 1000 protocol boot
ip -n a rule add tos 0x10 ipproto tcp sport 80 dport 1000-2000 uidrange 0-0 priority 120 goto 200 protocol boot
ip -n a rule add from 192.0.2.1/32 priority 150 blackhole protocol boot
ip -n a rule add priority 160 table main suppress_prefixlength 0 protocol boot
ip -n a rule add priority 200 nop protocol boot
ip -6 -n a rule add to 2001:db8::/32 priority 130 unreachable protocol boot
ip -6 -n a rule add uidrange 0-0 priority 140 prohibit protocol boot
ip -6 -n a rule add priority 170 table main suppress_ifgroup 5 protocol boot
ip -n a neighbor replace 10.0.0.7 dev e0 lladdr 02:00:00:00:00:07 nud permanent protocol 116

# b
ip -n b link set dev e0 up
ip -n b link set dev e1 up

# host
# needs iproute2 6.3: ip address add 192.0.2.9/24 dev eth0 proto 116
ip address add 192.0.2.9/24 dev eth0
# needs iproute2 6.3: ip address add 2001:db8:99::1/64 dev eth0 proto 116
ip address add 2001:db8:99::1/64 dev eth0
ip route add 198.51.100.0/24 via 192.0.2.10 dev eth0 proto 116
ip rule add from 192.0.2.0/24 priority 500 table 77 protocol 116
ip neighbor replace 192.0.2.77 dev eth0 lladdr 02:00:00:00:00:77 nud permanent protocol 116

# a
retry 50 ip -6 -n a route add 2001:db8:c::/48 dev e0 metric 30 src 2001:db8:4::1 mtu 1300
ip -n a neighbor replace 10.0.0.8 dev e0 lladdr 02:00:00:00:00:08 nud noarp extern_learn protocol 116
ip -n a neighbor replace 10.0.0.9 dev e0 lladdr 02:00:00:00:00:09 nud reachable protocol 116
ip -n a neighbor replace 2001:db8::7 dev e0 lladdr 02:00:00:00:00:07 nud stale router protocol 116
ip -n a neighbor replace 2001:db8::8 dev e0 managed protocol 116
ip -n a neighbor replace proxy 10.0.0.20 dev e0 protocol 116
ip -n a neighbor replace proxy 2001:db8::20 dev e0 router protocol 116
