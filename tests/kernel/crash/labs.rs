//! The labs that are disturbed on their way.

pub(super) const BLOG: &str = "
name: crash
namespaces:
  host: { interfaces: { bridge0: { bridge: { ports: [veth0, veth22] }, addresses: [192.168.10.1/24] } } }
  blue:
    interfaces: { veth1: { addresses: [192.168.10.10/24] } }
    routes: [{ to: default, via: 192.168.10.1 }]
  red:
    interfaces: { veth23: { addresses: [192.168.10.11/24] } }
    routes: [{ to: default, via: 192.168.10.1 }]
  test: {}
links:
  - endpoints: [blue:veth1, host:veth0]
  - endpoints: [red:veth23, host:veth22]
";

/// What BLOG becomes: a namespace less, another more, a link replaced, attributes changed.
pub(super) const BLOG_LATER: &str = "
name: crash
namespaces:
  host: { interfaces: { bridge0: { bridge: { ports: [veth0, veth33] }, addresses: [192.168.10.2/24], mtu: 1400 } } }
  blue:
    interfaces: { veth1: { addresses: [192.168.10.20/24], mac: 02:00:00:00:00:01 } }
    routes: [{ to: default, via: 192.168.10.2 }]
  green:
    interfaces: { veth33: { addresses: [192.168.10.13/24] } }
  test: { sysctls: { net.ipv4.ip_forward: 1 } }
links:
  - { endpoints: [blue:veth1, host:veth0], mtu: 1400 }
  - endpoints: [green:veth33, host:veth33]
";

pub(super) const ROUTER: &str = "
name: crash
namespaces:
  r:
    sysctls: { net.ipv4.ip_forward: 1, net.ipv4.conf.default.rp_filter: 2 }
    interfaces:
      a: { addresses: [10.1.0.1/24], sysctls: { ipv4.proxy_arp: 1 } }
      b: { addresses: [10.2.0.1/24, 10.2.0.2/24] }
    routes: [{ to: default, type: prohibit }, { to: 10.3.0.0/24, via: 10.2.0.9 }]
    rules: [{ from: 10.1.0.0/24, table: 5 }, { priority: 7, table: 7 }]
    neighbors: [{ to: 10.1.0.7, dev: a, lladdr: 02:00:00:00:00:07 }, { to: 10.2.0.8, dev: b, proxy: true }]
  pa: { interfaces: { eth0: { addresses: [10.1.0.9/24] } }, routes: [{ to: default, via: 10.1.0.1 }] }
  pb: { interfaces: { eth0: { addresses: [10.2.0.9/24] } }, routes: [{ to: default, via: 10.2.0.1 }] }
links:
  - endpoints: [r:a, pa:eth0]
  - endpoints: [r:b, pb:eth0]
";

pub(super) const ROUTER_LATER: &str = "
name: crash
namespaces:
  r:
    sysctls: { net.ipv6.conf.all.forwarding: 1 }
    interfaces:
      a: { addresses: [10.1.0.1/24] }
      b: { addresses: [10.2.0.2/24, 10.2.0.1/24], up: false }
    routes: [{ to: default, type: blackhole }]
    rules: [{ from: 10.1.0.0/25, table: 5 }, { priority: 7, table: 8 }]
    neighbors: [{ to: 10.1.0.7, dev: a, lladdr: 02:00:00:00:00:08 }, { to: 10.2.0.7, dev: b, lladdr: 02:00:00:00:00:07 }]
  pa: { interfaces: { eth0: { addresses: [10.1.0.9/24], altnames: [one] } }, routes: [{ to: default, via: 10.1.0.1, mtu: 1300 }] }
  pb: { interfaces: { eth0: { addresses: [10.2.0.8/24] } } }
links:
  - endpoints: [r:a, pa:eth0]
  - endpoints: [r:b, pb:eth0]
";

/// Links that cross namespaces in every direction; `up0` is the machine's own.
pub(super) const CROSSING: &str = "
name: crash
namespaces:
  host:
    interfaces:
      up0: { external: true }
      mv9: { macvlan: { parent: \"u:eth0\", mode: bridge } }
      vx9: { vxlan: { id: 9, remote: 192.0.2.2, port: 4789, underlay: u } }
  u: { interfaces: { eth0: { addresses: [192.0.2.1/24] } } }
  v: { interfaces: { eth0: { addresses: [192.0.2.2/24] } } }
  m:
    interfaces:
      mv0: { macvlan: { parent: \"host:up0\", mode: bridge }, addresses: [10.0.0.1/24] }
      mv1: { macvlan: { parent: \"u:eth0\", mode: bridge } }
      vx0: { vxlan: { id: 42, remote: 192.0.2.2, port: 4789, underlay: u }, addresses: [10.9.0.1/24] }
      vx1: { vxlan: { id: 43, remote: 192.0.2.2, port: 4790, underlay: host } }
links: [{ endpoints: [u:eth0, v:eth0] }]
";

pub(super) const UPLINK: &str = "ip link add up0 type veth peer name up1; ip link set up0 up; ip link set up1 up
    ip address add 203.0.113.5/24 dev up0; ip route add 203.0.114.0/24 via 203.0.113.1";

/// What is not the lab's, changed by it.
/// The bridge has an address of its own from the start: the kernel takes carrier from an empty bridge that is given one later, as
/// it must be when it is made again.
pub(super) const EXTERNAL: &str = "
name: crash
namespaces:
  host:
    sysctls: { net.ipv4.ip_forward: 1, net.ipv4.conf.default.rp_filter: 1 }
    interfaces:
      up0: { external: true, addresses: [192.0.2.10/24], mtu: 1400, txqueuelen: 77 }
      br0: { bridge: { ports: [] }, mac: 02:00:00:00:05:01, addresses: [10.5.0.1/24] }
    routes: [{ to: 198.51.100.0/24, via: 192.0.2.1 }, { to: 198.51.101.0/24, via: 10.5.0.9 }]
    rules: [{ from: 10.5.0.0/24, table: 5 }, { priority: 7, iif: br0, table: 7 }, { priority: 7, type: nop }]
    neighbors: [{ to: 192.0.2.77, dev: up0, lladdr: 02:00:00:00:00:07 }, { to: 10.5.0.7, dev: br0, proxy: true }]
";

pub(super) const EXTERNAL_LATER: &str = "
name: crash
namespaces:
  host:
    sysctls: { net.ipv4.ip_forward: 1 }
    interfaces:
      up0: { external: true, addresses: [192.0.2.11/24], mtu: 1300 }
    routes: [{ to: 198.51.100.0/24, via: 192.0.2.2 }]
    rules: [{ from: 10.5.0.0/24, table: 6 }, { priority: 7, type: nop }]
    neighbors: [{ to: 192.0.2.77, dev: up0, lladdr: 02:00:00:00:00:08 }, { to: 192.0.2.78, dev: up0, proxy: true }]
";

/// To be refused by the kernel at its end: the uplink is in use by somebody's macvlan in `passthru` mode.
pub(super) const REFUSED: &str = "
name: crash
namespaces:
  host: { interfaces: { up0: { external: true, txqueuelen: 77, addresses: [192.0.2.10/24] } } }
  a: { interfaces: { eth0: { addresses: [10.0.0.3/24] } }, sysctls: { net.ipv4.ip_forward: 1 } }
  c: { interfaces: { mv0: { macvlan: { parent: \"host:up0\", mode: bridge } }, eth0: { addresses: [10.0.0.2/24] } } }
links: [{ endpoints: [a:eth0, c:eth0], mtu: 1400 }]
";

pub(super) const BEFORE_REFUSED: &str = "
name: crash
namespaces:
  host: { interfaces: { up0: { external: true, addresses: [192.0.2.10/24] } } }
  a: { interfaces: { eth0: { addresses: [10.0.0.1/24] }, gone: {} } }
  b: { interfaces: { eth0: { addresses: [10.0.0.2/24] }, gone: {} } }
links: [{ endpoints: [a:eth0, b:eth0] }, { endpoints: [a:gone, b:gone] }]
";

pub(super) const OCCUPIED_UPLINK: &str = "ip link add up0 type veth peer name up1; ip link set up0 up; ip link set up1 up
    ip link add owner link up0 type macvlan mode passthru";

/// Foreign objects and settings that the kernel changes along with those of the lab.
pub(super) const ENDANGERED: &str = "ip link add up0 type veth peer name up1; ip link set up0 up; ip link set up1 up
    ip address add 203.0.113.5/24 dev up0; ip route add 203.0.114.0/24 via 203.0.113.1; ip address add 2001:db8::5/64 dev up0 nodad
    ip -6 route add 2001:db8:1::/48 via 2001:db8::1; ip neighbor add 203.0.113.7 lladdr 02:00:00:00:00:07 dev up0
    ip route add 203.0.115.0/24 dev up1; echo 1 > /proc/sys/net/ipv4/conf/up1/forwarding
    echo 0 > /proc/sys/net/ipv4/conf/all/accept_redirects; echo 0 > /proc/sys/net/ipv6/conf/up0/accept_dad";

pub(super) const DRAGGING: &str = "
name: crash
namespaces:
  host:
    sysctls: { net.ipv4.ip_forward: 1 }
    interfaces:
      up0: { external: true, up: false }
      up1: { external: true, addresses: [192.0.2.10/24] }
";

pub(super) const DRAGGING_LATER: &str = "
name: crash
namespaces:
  host:
    sysctls: { net.ipv6.conf.all.forwarding: 1 }
    interfaces:
      up0: { external: true, txqueuelen: 77, addresses: [192.0.3.10/24] }
      up1: { external: true, addresses: [192.0.2.11/24] }
";

/// Nodes with namespaces and files of their own, one without, and what the next lab keeps, changes, replaces and removes.
pub(super) const NODES: &str = r#"
name: crash
namespaces:
  a:
    isolation: [pid, mount, uts]
    hostname: first
    files: { /etc/topo-test: { content: one }, /etc/motd: { content: m } }
    binds: [{ source: /usr/share, target: /srv, readonly: true }, { source: /usr/lib, target: /etc/topo-bind/lib }]
  b:
    isolation: full
    files: { /tmp/x: { content: y } }
    binds: [{ source: /etc/passwd, target: /tmp/p }]
    processes:
      first: { command: "touch /run/first", oneshot: true }
      main: { command: [sleep, "1000"], after: [first], restart_on: [/tmp/x] }
      gone: { command: [sleep, "1000"] }
  c: { hostname: c, processes: { main: { command: [sleep, "1000"] } } }
  d: {}
links: [{ endpoints: [a:eth0, b:eth0] }, { endpoints: [c:eth0, d:eth0] }]
"#;

pub(super) const NODES_LATER: &str = r#"
name: crash
namespaces:
  a:
    isolation: [pid, mount, uts]
    hostname: second
    files: { /etc/topo-test: { content: two } }
    binds: [{ source: /usr/lib, target: /srv }, { source: /etc, target: /tmp/etc }]
    processes: { x: { command: [sleep, "1000"] } }
  b: { isolation: [user, pid, mount], interfaces: { lo: { mtu: 9000 } }, processes: { main: { command: [sleep, "1000"] } } }
  d: { hostname: d }
links: [{ endpoints: [a:eth0, b:eth0] }]
"#;
