//! The raw program. It creates the same networks with the same marks, by the fewest and cheapest known system calls.

use std::fs::File;
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

use super::netlink::{self, Messages, Socket};
use super::network::{End, LAB, Namespace, Network, PORTS};
use super::settings;

const DIRECTORY: &str = "/run/netns";
const GROUP: u32 = 0x4000_0001;
/// The first interface index of the links.
const FIRST_INDEX: u32 = 1 << 20;
const FIRST_BRIDGE: u32 = FIRST_INDEX - 1000;
/// More threads gain nothing.
const THREADS: usize = 2;
/// Each unmount waits for readers of the mount table (RCU), and concurrent unmounts share one wait.
const UNMOUNTING_THREADS: usize = 24;

const IFLA_IFNAME: u16 = 3;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_GROUP: u16 = 27;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_EXT_MASK: u16 = 29;
const IFLA_NUM_TX_QUEUES: u16 = 31;
const IFLA_NUM_RX_QUEUES: u16 = 32;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFLA_BR_MCAST_SNOOPING: u16 = 23;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// A namespace to configure.
struct NamespaceHandle {
    file: File,
    socket: Socket,
}

/// Creates the namespaces on two threads, then all links directly in their namespaces, then everything else for each namespace.
/// Sets the bridge up last: while a bridge is up, the initial IPv6 messages of each new port are sent to all existing ports. Enables
/// snooping after that: each port that begins to forward restarts the queries on all forwarding ports.
pub fn apply(network: &Network) -> io::Result<()> {
    std::fs::create_dir_all(DIRECTORY)?;
    let handles = make_namespaces(network)?;
    let host = Socket::open()?;
    let mut messages = Messages::default();
    for (number, address) in network.bridges.iter().enumerate() {
        bridge(&mut messages, number, *address);
    }
    for (number, ends) in network.pairs.iter().enumerate() {
        pair(&mut messages, &handles, number, ends);
    }
    host.execute(&messages)?;
    for (namespace, handle) in network.namespaces.iter().zip(&handles) {
        handle.socket.execute(&settings(network, namespace))?;
    }
    let mut messages = Messages::default();
    for number in 0..network.bridges.len() {
        messages.begin(netlink::RTM_SETLINK, 0, &netlink::link(bridge_index(number), true));
        messages.begin(netlink::RTM_NEWLINK, 0, &netlink::link(bridge_index(number), false));
        snooping(&mut messages, 1);
    }
    host.execute(&messages)
}

fn make_namespaces(network: &Network) -> io::Result<Vec<NamespaceHandle>> {
    let share = network.namespaces.len().div_ceil(THREADS).max(1);
    let make_all = |part: &[Namespace]| part.iter().map(make_namespace).collect::<io::Result<Vec<_>>>();
    std::thread::scope(|scope| {
        let threads: Vec<_> = network.namespaces.chunks(share).map(|part| scope.spawn(move || make_all(part))).collect();
        let parts: io::Result<Vec<_>> = threads.into_iter().map(|thread| thread.join().expect("no panics")).collect();
        Ok(parts?.into_iter().flatten().collect())
    })
}

/// Moves the calling thread to a new namespace, marks it, sets its `lo` up, and gives it a name.
fn make_namespace(namespace: &Namespace) -> io::Result<NamespaceHandle> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    let (file, socket) = (File::open("/proc/thread-self/ns/net")?, Socket::open()?);
    let mark = format!("topo:{LAB}/{}", namespace.name);
    let mut messages = Messages::default();
    messages.begin(netlink::RTM_SETLINK, 0, &netlink::link(1, false));
    messages.attribute(IFLA_IFALIAS, mark.as_bytes());
    messages.begin(netlink::RTM_SETLINK, 0, &netlink::link(1, true));
    socket.execute(&messages)?;
    if namespace.forwards {
        settings::write("net/ipv4/ip_forward", b"1")?;
    }
    let path = format!("{DIRECTORY}/{}", namespace.name);
    File::options().write(true).create_new(true).mode(0o444).open(&path)?.write_all(mark.as_bytes())?;
    mount(Some("/proc/thread-self/ns/net"), path.as_str(), None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    Ok(NamespaceHandle { file, socket })
}

fn bridge_index(number: usize) -> u32 {
    FIRST_BRIDGE + u32::try_from(number).expect("few bridges")
}

fn bridge(messages: &mut Messages, number: usize, address: (Ipv4Addr, u8)) {
    let index = bridge_index(number);
    messages.begin(netlink::RTM_NEWLINK, netlink::CREATE, &netlink::link(index, false));
    messages.attribute(IFLA_IFNAME, format!("bridge{number}").as_bytes());
    messages.attribute(IFLA_GROUP, &GROUP.to_ne_bytes());
    snooping(messages, 0);
    mark(messages, index);
    add_address(messages, index, address, Some(116));
}

/// Adds the kind of a bridge, with multicast snooping on or off.
fn snooping(messages: &mut Messages, on: u8) {
    messages.nested(IFLA_LINKINFO, |messages| {
        messages.attribute(IFLA_INFO_KIND, b"bridge");
        messages.nested(IFLA_INFO_DATA, |messages| messages.attribute(IFLA_BR_MCAST_SNOOPING, &[on]));
    });
}

/// Adds the mark of a link in `host`, in the same send as its creation, before it is up.
fn mark(messages: &mut Messages, index: u32) {
    messages.begin_together(netlink::RTM_SETLINK, 0, &netlink::link(index, false));
    messages.attribute(IFLA_IFALIAS, format!("topo:{LAB}").as_bytes());
}

fn index(pair: usize, end: usize) -> u32 {
    FIRST_INDEX + u32::try_from(pair * 2 + end).expect("few links")
}

/// Creates both endpoints in their namespaces with chosen indices. The message can set only the first endpoint up. An endpoint in
/// `host` needs another message for its mark anyway, so it is the second.
fn pair(messages: &mut Messages, handles: &[NamespaceHandle], number: usize, ends: &[End; 2]) {
    let (first, second) = if ends[0].namespace.is_none() { (1, 0) } else { (0, 1) };
    messages.begin(netlink::RTM_NEWLINK, netlink::CREATE, &netlink::link(index(number, first), true));
    end(messages, handles, &ends[first]);
    messages.nested(IFLA_LINKINFO, |messages| {
        messages.attribute(IFLA_INFO_KIND, b"veth");
        messages.nested(IFLA_INFO_DATA, |messages| {
            messages.nested(VETH_INFO_PEER, |messages| {
                messages.raw(&netlink::link(index(number, second), false));
                end(messages, handles, &ends[second]);
            });
        });
    });
    if ends[second].namespace.is_none() {
        let index = index(number, second);
        mark(messages, index);
        messages.begin_together(netlink::RTM_SETLINK, 0, &netlink::link(index, true));
        messages.attribute(IFLA_MASTER, &bridge_index(number / PORTS).to_ne_bytes());
    }
}

fn end(messages: &mut Messages, handles: &[NamespaceHandle], end: &End) {
    messages.attribute(IFLA_IFNAME, end.name.as_bytes());
    messages.attribute(IFLA_NUM_TX_QUEUES, &1_u32.to_ne_bytes());
    messages.attribute(IFLA_NUM_RX_QUEUES, &1_u32.to_ne_bytes());
    match end.namespace {
        Some(namespace) => messages.attribute(IFLA_NET_NS_FD, &handles[namespace].file.as_raw_fd().to_ne_bytes()),
        None => messages.attribute(IFLA_GROUP, &GROUP.to_ne_bytes()),
    }
}

/// Adds the messages for a namespace's own socket: set second endpoints up, add addresses and routes.
fn settings(network: &Network, namespace: &Namespace) -> Messages {
    let mut messages = Messages::default();
    for &(pair, end) in &namespace.ends {
        if end == 1 && network.pairs[pair][0].namespace.is_some() {
            messages.begin(netlink::RTM_SETLINK, 0, &netlink::link(index(pair, end), true));
        }
    }
    for &(pair, end) in &namespace.ends {
        if let Some(address) = network.pairs[pair][end].address {
            add_address(&mut messages, index(pair, end), address, None);
        }
    }
    for route in &namespace.routes {
        const RTPROT_BOOT: u8 = 3;
        const RT_TABLE_MAIN: u8 = 254;
        let length = route.to.map_or(0, |(_, length)| length);
        let header = [2, length, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, 0, 1, 0, 0, 0, 0];
        messages.begin(netlink::RTM_NEWROUTE, netlink::CREATE, &header);
        if let Some((to, _)) = route.to {
            messages.attribute(1, &to.octets());
        }
        messages.attribute(5, &route.via.octets());
        messages.attribute(4, &index(route.over.0, route.over.1).to_ne_bytes());
    }
    messages
}

fn add_address(messages: &mut Messages, index: u32, (address, length): (Ipv4Addr, u8), protocol: Option<u8>) {
    let mut header = [2, length, 0, 0, 0, 0, 0, 0];
    header[4..].copy_from_slice(&index.to_ne_bytes());
    messages.begin(netlink::RTM_NEWADDR, netlink::CREATE, &header);
    messages.attribute(2, &address.octets());
    messages.attribute(1, &address.octets());
    if let Some(protocol) = protocol {
        messages.attribute(11, &[protocol]);
    }
}

/// Runs the dumps that a plan needs: links, addresses, routes, rules, neighbours and proxies of every namespace and of `host`.
pub fn dump(network: &Network) -> io::Result<()> {
    let share = network.namespaces.len().div_ceil(THREADS).max(1);
    std::thread::scope(|scope| {
        let look = |part: &[Namespace]| {
            let mut buffer = Vec::new();
            part.iter().try_for_each(|namespace| {
                setns(File::open(format!("{DIRECTORY}/{}", namespace.name))?, CloneFlags::CLONE_NEWNET)?;
                dump_here(&mut buffer, namespace.forwards)
            })
        };
        let threads: Vec<_> = network.namespaces.chunks(share).map(|part| scope.spawn(move || look(part))).collect();
        dump_here(&mut Vec::new(), false)?;
        threads.into_iter().try_for_each(|thread| thread.join().expect("no panics"))
    })
}

/// Dumps addresses and routes one family at a time, because the kernel holds the lock of all networks (rtnl) during a dump of all families.
fn dump_here(buffer: &mut Vec<u8>, forwards: bool) -> io::Result<()> {
    const SKIP_STATISTICS: u32 = 8;
    /// `ndm_flags` of a request for proxies (linux/neighbour.h).
    const NTF_PROXY: u8 = 8;
    let socket = Socket::open()?;
    let mut links = Messages::default();
    links.begin(netlink::RTM_GETLINK, netlink::DUMP, &netlink::link(0, false));
    links.attribute(IFLA_EXT_MASK, &SKIP_STATISTICS.to_ne_bytes());
    socket.dump(&links, buffer)?;
    if forwards {
        socket.dump(&forwarding(), buffer)?;
    }
    for family in [AF_INET, AF_INET6] {
        let mut addresses = Messages::default();
        addresses.begin(netlink::RTM_GETADDR, netlink::DUMP, &[family, 0, 0, 0, 0, 0, 0, 0]);
        socket.dump(&addresses, buffer)?;
        let mut routes = Messages::default();
        routes.begin(netlink::RTM_GETROUTE, netlink::DUMP, &[family, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        socket.dump(&routes, buffer)?;
    }
    let mut rules = Messages::default();
    rules.begin(netlink::RTM_GETRULE, netlink::DUMP, &[0; 12]);
    socket.dump(&rules, buffer)?;
    for flags in [0, NTF_PROXY] {
        let mut neighbors = Messages::default();
        neighbors.begin(netlink::RTM_GETNEIGH, netlink::DUMP, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, flags, 0]);
        socket.dump(&neighbors, buffer)?;
    }
    Ok(())
}

/// Requests `net.ipv4.ip_forward` by message. This takes a tenth of the time of reading the file, which the kernel searches among those
/// of all namespaces.
fn forwarding() -> Messages {
    const NETCONFA_IFINDEX: u16 = 1;
    const NETCONFA_IFINDEX_ALL: i32 = -1;
    let mut messages = Messages::default();
    messages.begin(netlink::RTM_GETNETCONF, netlink::ACK, &[AF_INET, 0, 0, 0]);
    messages.attribute(NETCONFA_IFINDEX, &NETCONFA_IFINDEX_ALL.to_ne_bytes());
    messages
}

/// Deletes everything and waits until it is gone: all links in `host` by one message, then the namespaces. In the reverse order the
/// kernel's cleanup delays the message.
pub fn destroy(network: &Network) -> io::Result<()> {
    if !network.bridges.is_empty() {
        let mut messages = Messages::default();
        messages.begin(netlink::RTM_DELLINK, 0, &netlink::link(0, false));
        messages.attribute(IFLA_GROUP, &GROUP.to_ne_bytes());
        Socket::open()?.execute(&messages)?;
    }
    let share = network.namespaces.len().div_ceil(UNMOUNTING_THREADS).max(1);
    std::thread::scope(|scope| {
        let threads: Vec<_> = network.namespaces.chunks(share).map(|part| scope.spawn(move || unmount(part))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no panics"))
    })?;
    std::fs::remove_dir(DIRECTORY)
}

fn unmount(namespaces: &[Namespace]) -> io::Result<()> {
    namespaces.iter().try_for_each(|namespace| {
        let path = format!("{DIRECTORY}/{}", namespace.name);
        umount2(path.as_str(), MntFlags::MNT_DETACH)?;
        std::fs::remove_file(&path)
    })
}
