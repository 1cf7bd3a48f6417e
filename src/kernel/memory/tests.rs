//! Tests of the kernel's rules. The expected results were verified on Linux 6.18, and for vlans, dummies, ipvlans and geneves on 6.1.

mod addresses;
mod geneve;
mod ipvlan;
mod lab;
mod links;
mod mtu;
mod namespaces;
mod ports;
mod routes;
mod sysctls;
mod vrf;

use super::*;
use crate::kernel::Unattended;
use crate::name::{LinkId, LinkName, LinkRef, NamespaceName};
use crate::operation::{LinkChange, LinkHandle, MasterChange, NewLink, NewPeer};
use crate::resource::address::{Address, AddressKey};
use crate::resource::link::bridge::Bridge;
use crate::resource::link::dummy::Dummy;
use crate::resource::link::ipvlan::{Ipvlan, IpvlanFlags, IpvlanMode, Ipvtap};
use crate::resource::link::macvlan::{Macvlan, MacvlanMode};
use crate::resource::link::veth::Veth;
use crate::resource::link::vlan::Vlan;
use crate::resource::link::vxlan::Vxlan;
use crate::resource::link::{Kind, Link, LinkSettings};
use crate::resource::object::table::{Places, Puts, Registered};
use crate::resource::object::{At, Over, Put};
use crate::resource::route::{MAIN_TABLE, NextHop, Route, RouteKey, RouteType};
use crate::resource::sysctl::SysctlKey;
use crate::state::{Ifindex, ResourceId};
use nix::libc;

/// An in-memory kernel with short methods for tests. Links are written as `red:a`.
struct World {
    memory: Memory,
    next: Ifindex,
}

type Outcome = Result<(), i32>;

fn id(text: &str) -> LinkId {
    text.parse().unwrap()
}

fn bridge() -> Kind {
    Kind::from(Bridge::default())
}

fn dummy() -> Kind {
    Kind::from(Dummy {})
}

fn vlan(parent: &str, id: u16) -> Kind {
    Kind::from(Vlan { parent: parent.parse().ok(), id: Some(id), ..Vlan::default() })
}

fn macvlan(parent: &str, mode: MacvlanMode) -> Kind {
    Kind::from(Macvlan { parent: parent.parse().ok(), mode: Some(mode), ..Macvlan::default() })
}

fn ipvlan(parent: &str) -> Kind {
    Kind::from(Ipvlan { parent: parent.parse().ok(), ..Ipvlan::default() })
}

fn ipvtap(parent: &str) -> Kind {
    Kind::from(Ipvtap { parent: parent.parse().ok(), ..Ipvtap::default() })
}

fn vxlan(id: u32, parent: Option<&str>) -> Kind {
    let parent = parent.map(|parent| parent.parse::<LinkRef>().unwrap());
    Kind::from(Vxlan { id: Some(id), parent, ..Vxlan::default() })
}

fn with_mtu(mtu: u32) -> LinkSettings {
    LinkSettings { mtu: Some(mtu), ..LinkSettings::default() }
}

fn with_up(up: bool) -> LinkSettings {
    LinkSettings { up: Some(up), ..LinkSettings::default() }
}

/// A route as a test writes it: `to via=… dev=… src=… …`.
fn route(text: &str) -> (RouteKey, Route) {
    let mut words = text.split(' ');
    let to: ipnet::IpNet = words.next().unwrap().parse().unwrap();
    let metric = if matches!(to, ipnet::IpNet::V6(_)) { 1024 } else { 0 };
    let mut key = RouteKey { table: MAIN_TABLE, to, metric, tos: 0, ordinal: 0 };
    let mut route = Route::default();
    for word in words {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        match name {
            "via" | "dev" if route.nexthops.is_empty() || name == "via" => {
                let hop = NextHop { via: None, dev: None, weight: 1, onlink: false };
                route.nexthops.push(match name {
                    "via" => NextHop { via: value.parse().ok(), ..hop },
                    _ => NextHop { dev: value.parse().ok(), ..hop },
                });
            }
            "dev" => route.nexthops.last_mut().unwrap().dev = value.parse().ok(),
            "onlink" => route.nexthops.last_mut().unwrap().onlink = true,
            "src" => route.src = value.parse().ok(),
            "metric" => key.metric = value.parse().unwrap(),
            "table" => key.table = value.parse().unwrap(),
            "blackhole" => route.kind = RouteType::Blackhole,
            other => panic!("{other}"),
        }
    }
    (key, route)
}

impl World {
    /// A machine with the namespaces `red` and `blue`.
    fn new() -> Self {
        let mut world = Self { memory: Memory::new("blog".parse().unwrap()), next: 1 << 20 };
        world.namespace("red").unwrap();
        world.namespace("blue").unwrap();
        world
    }

    fn run(&mut self, operation: Operation) -> Outcome {
        match self.memory.execute(&[operation], &mut Unattended) {
            Ok(()) => Ok(()),
            Err(ExecuteError::Operation(error)) => Err(error.source.number),
            Err(ExecuteError::Interrupted) => panic!("nobody interrupts"),
        }
    }

    fn namespace(&mut self, name: &str) -> Outcome {
        self.run(Operation::CreateNamespace(name.parse().unwrap()))
    }

    fn network(&mut self) -> &mut Network {
        &mut self.memory.network
    }

    fn handle(&self, name: &str) -> LinkHandle {
        self.memory.network.handle(&id(name)).unwrap()
    }

    fn fresh(&mut self, name: &str) -> LinkHandle {
        self.next += 1;
        LinkHandle { id: id(name), index: self.next }
    }

    fn new_link(&mut self, name: &str, kind: Kind) -> NewLink {
        let handle = self.fresh(name);
        let parent = kind.below(&handle.id.namespace).map(|parent| self.memory.network.handle(&parent).unwrap());
        NewLink { handle, link: Link::new(kind), parent, master: None, up: false, peer: None }
    }

    fn create(&mut self, new: NewLink) -> Outcome {
        self.run(Operation::CreateLink(Box::new(new)))
    }

    /// Creates a link that is down.
    fn link(&mut self, name: &str, kind: Kind) -> Outcome {
        let new = self.new_link(name, kind);
        self.create(new)
    }

    fn pair_of(&mut self, one: &str, other: &str) -> NewLink {
        let veth = || Kind::from(Veth::default());
        let peer = Some(Box::new(NewPeer { handle: self.fresh(other), link: Link::new(veth()), master: None, up: false }));
        NewLink { peer, ..self.new_link(one, veth()) }
    }

    /// Creates a pair with both ends down.
    fn pair(&mut self, one: &str, other: &str) -> Outcome {
        let new = self.pair_of(one, other);
        self.create(new)
    }

    fn changing(&self, name: &str) -> LinkChange {
        LinkChange::of(self.handle(name))
    }

    fn change(&mut self, change: LinkChange) -> Outcome {
        self.run(Operation::ChangeLink(Box::new(change)))
    }

    fn set(&mut self, name: &str, settings: LinkSettings) -> Outcome {
        let change = LinkChange { settings, ..self.changing(name) };
        self.change(change)
    }

    fn up(&mut self, name: &str) -> Outcome {
        self.set(name, with_up(true))
    }

    fn down(&mut self, name: &str) -> Outcome {
        self.set(name, with_up(false))
    }

    fn enslave(&mut self, port: &str, master: &str) -> Outcome {
        let change = LinkChange { master: MasterChange::Enslave(self.handle(master)), ..self.changing(port) };
        self.change(change)
    }

    fn delete(&mut self, name: &str) -> Outcome {
        let link = self.handle(name);
        self.run(Operation::DeleteLink(link))
    }

    fn add(&mut self, name: &str, address: &str) -> Outcome {
        self.add_with(name, address, Address::default(), Over::Nothing)
    }

    fn add_with(&mut self, name: &str, address: &str, attributes: Address, over: Over<Address>) -> Outcome {
        let at = self.address(name, address, attributes);
        self.put(Put { at, over, awaited: None })
    }

    fn take(&mut self, name: &str, address: &str) -> Outcome {
        let at = self.address(name, address, Address::default());
        self.remove(at)
    }

    fn address(&self, name: &str, address: &str, value: Address) -> At<Address> {
        let LinkHandle { id, index } = self.handle(name);
        let key = AddressKey { link: id.name, address: address.parse().unwrap() };
        At { namespace: id.namespace, key, value, indices: vec![Some(index)] }
    }

    fn put<O: Registered>(&mut self, put: Put<O>) -> Outcome {
        self.run(Operation::Put(Box::new(O::any::<Puts>(put))))
    }

    fn remove<O: Registered>(&mut self, at: At<O>) -> Outcome {
        self.run(Operation::Remove(Box::new(O::any::<Places>(at))))
    }

    fn at(&self, namespace: &str, text: &str) -> At<Route> {
        let (key, route) = route(text);
        let namespace: NamespaceName = namespace.parse().unwrap();
        let handle = |name: LinkName| self.memory.network.handle(&LinkId::new(&namespace, name));
        At::new(&namespace, &key, &route, |name| Some(handle(name).map_or(999, |handle| handle.index)))
    }

    fn route(&mut self, namespace: &str, text: &str) -> Outcome {
        let at = self.at(namespace, text);
        self.put(Put { at, over: Over::Nothing, awaited: None })
    }

    fn replace_route(&mut self, namespace: &str, text: &str) -> Outcome {
        let at = self.at(namespace, text);
        self.put(Put { at, over: Over::Anything, awaited: None })
    }

    fn delete_route(&mut self, namespace: &str, text: &str) -> Outcome {
        let at = self.at(namespace, text);
        self.remove(at)
    }

    fn write(&mut self, namespace: &str, key: &str, value: &str) -> Outcome {
        let (namespace, key) = (namespace.parse().unwrap(), SysctlKey::of_namespace(key).unwrap());
        self.run(Operation::WriteSysctl { namespace, key, value: value.into() })
    }

    fn read(&self, namespace: &str, key: &str) -> String {
        let key = SysctlKey::of_namespace(key).unwrap();
        self.memory.network.sysctl(&namespace.parse().unwrap(), &key).unwrap_or_else(|| "none".into())
    }

    fn live(&mut self) -> Live {
        self.memory.observe(&State::default()).unwrap()
    }

    fn find(&mut self, name: &str) -> Option<Link> {
        self.live().state.link(&id(name)).cloned()
    }

    fn mtu(&mut self, name: &str) -> u32 {
        self.find(name).unwrap().settings.mtu.unwrap()
    }

    fn is_up(&mut self, name: &str) -> bool {
        self.find(name).unwrap().settings.up.unwrap()
    }

    fn master(&mut self, name: &str) -> Option<String> {
        self.find(name).unwrap().settings.master.map(String::from)
    }

    /// Returns the addresses of a link in the kernel's order.
    fn addresses(&mut self, name: &str) -> String {
        let live = self.live();
        let link = id(name);
        let all = live.state.objects::<Address>().iter();
        let mut addresses: Vec<_> = all.filter(|((owner, key), _)| *owner == link.namespace && key.link == link.name).collect();
        addresses.sort_by_key(|((_, key), attributes)| (key.ip().is_ipv6(), attributes.order));
        addresses.into_iter().map(|((_, key), _)| key.address.to_string()).collect::<Vec<_>>().join(" ")
    }

    /// Returns the manually added routes, sorted.
    fn routes(&mut self, namespace: &str) -> Vec<String> {
        let live = self.live();
        let here = |((owner, key), route): (&(NamespaceName, RouteKey), &Route)| {
            let hops: Vec<_> = route.nexthops.iter().map(|hop| hop.show(false)).collect();
            let src = route.src.map(|src| format!(" src {src}")).unwrap_or_default();
            (owner.as_str() == namespace).then(|| format!("{key} {}{src}", hops.join(", ")).trim_end().to_owned())
        };
        live.state.objects::<Route>().iter().filter_map(here).collect()
    }
}

#[test]
fn execution_stops_at_the_first_failure() {
    let mut memory = Memory::new("blog".parse().unwrap());
    let create = |name: &str| Operation::CreateNamespace(name.parse().unwrap());
    let error = memory.execute(&[create("red"), create("red"), create("blue")], &mut Unattended).unwrap_err();
    let ExecuteError::Operation(error) = error else { panic!("{error}") };
    assert_eq!((error.position, error.source.number), (1, libc::EEXIST));
    assert_eq!(error.to_string(), "cannot create namespace `red`");
    assert_eq!((memory.attempted(), memory.executed()), (2, 1));
    assert!(memory.observe(&State::default()).unwrap().state.namespaces.iter().map(NamespaceName::as_str).eq(["red"]));
}

#[test]
fn failures_are_transient_persistent_or_selected() {
    let mut memory = Memory::new("blog".parse().unwrap());
    let create = |memory: &mut Memory, name: &str| {
        memory.execute(&[Operation::CreateNamespace(name.parse().unwrap())], &mut Unattended).is_ok()
    };
    memory.fail_at(1, libc::ENOMEM);
    assert_eq!(["a", "b", "c"].map(|name| create(&mut memory, name)), [true, false, true]);
    memory.fail_from(1, libc::ENOMEM);
    assert_eq!(["d", "e", "f"].map(|name| create(&mut memory, name)), [true, false, false]);
    memory.heal();
    memory.fail_every(|operation| matches!(operation, Operation::CreateNamespace(_)), libc::EPERM);
    assert!(!create(&mut memory, "g"));
    memory.heal();
    assert!(create(&mut memory, "g"));
}

#[test]
fn stopping_is_possible_between_operations() {
    struct Once(usize);
    impl Progress for Once {
        fn stop(&self) -> bool {
            self.0 == 1
        }
        fn done(&mut self, _: usize) {
            self.0 += 1;
        }
    }
    let mut memory = Memory::new("blog".parse().unwrap());
    let operations = ["red", "blue"].map(|name| Operation::CreateNamespace(name.parse().unwrap()));
    assert!(matches!(memory.execute(&operations, &mut Once(0)), Err(ExecuteError::Interrupted)));
    assert_eq!(memory.executed(), 1);
}
