//! Ownership: what a lab observes, and what belongs to it.

use super::*;
use crate::kernel::memory::tamper::Mark;

/// The lab wants a bridge `host:br0`, an external `host:eth0`, a namespace `red`, and things on them.
fn desired() -> State {
    let mut state = State::default();
    state.namespaces.insert("red".parse().unwrap());
    state.insert_link(id("host:br0"), Link::new(bridge()));
    state.insert_link(id("host:eth0"), Link::external(LinkSettings::default()));
    let address = AddressKey { link: "eth0".parse().unwrap(), address: "10.0.0.1/24".parse().unwrap() };
    state.insert(&NamespaceName::host(), address, Address::default());
    let (key, way) = route("10.9.0.0/16 via=10.0.0.9");
    state.insert(&NamespaceName::host(), key, way);
    let key = SysctlKey::of_namespace("net.ipv4.ip_forward").unwrap();
    state.sysctls.insert((NamespaceName::host(), key), crate::resource::sysctl::Sysctl::new("1"));
    state
}

fn machine() -> Memory {
    let mut memory = Memory::new("blog".parse().unwrap());
    memory.network.add_device(&id("host:eth0")).unwrap();
    memory
}

fn seen(live: &Live) -> Vec<String> {
    live.state.ids().iter().map(|id| format!("{} {id}", id.kind())).collect()
}

#[test]
fn a_lab_observes_the_links_of_host_that_it_declares() {
    let mut memory = machine();
    let live = memory.observe(&desired()).unwrap();
    assert_eq!(seen(&live), ["sysctl host:net.ipv4.ip_forward", "link host:eth0"]);
    assert!(live.state.link(&id("host:eth0")).unwrap().external);
    assert_eq!(live.taken_indices, [(id("host:lo"), 1)].into());
    assert_eq!(live.indices[&id("host:eth0")], 2);
    assert!(live.foreign.is_empty());
    assert_eq!(seen(&memory.observe(&State::default()).unwrap()), [] as [&str; 0]);
}

#[test]
fn links_of_a_lab_in_host_have_its_mark() {
    let mut world = World { memory: machine(), next: 1 << 20 };
    world.link("host:br0", bridge()).unwrap();
    world.add("host:eth0", "10.0.0.1/24").unwrap();
    world.route("host", "10.9.0.0/16 via=10.0.0.9").unwrap();
    let own = ["sysctl host:net.ipv4.ip_forward", "link host:br0", "link host:eth0", "address host:eth0 10.0.0.1/24"];
    assert_eq!(seen(&world.memory.observe(&desired()).unwrap()), [&own[..], &["route host 10.9.0.0/16"]].concat());
    assert_eq!(seen(&world.live()), ["link host:br0"], "by its marks alone");
    let mut other = Memory::with_network("other".parse().unwrap(), world.memory.network.clone());
    let live = other.observe(&desired()).unwrap();
    assert_eq!(live.foreign[&ResourceId::Link(id("host:br0"))].to_string(), "a bridge of the lab `blog`");
}

#[test]
fn a_link_with_half_a_mark_is_foreign() {
    let lab: LabName = "blog".parse().unwrap();
    for (mark, what) in [
        (Mark::None, "a bridge that topo did not make"),
        (Mark::Group(&lab), "a bridge that topo did not make, with the lab's group but not its alias"),
        (Mark::Alias(&lab), "a bridge that topo did not make, with the lab's alias but not its group"),
    ] {
        let mut memory = machine();
        memory.network.add_link(&id("host:br0"), bridge(), mark).unwrap();
        let live = memory.observe(&desired()).unwrap();
        assert_eq!(live.foreign.get(&ResourceId::Link(id("host:br0"))).map(ToString::to_string).as_deref(), Some(what));
        assert!(live.state.link(&id("host:br0")).is_none() && live.taken_indices[&id("host:br0")] == 3);
    }
    let mut memory = machine();
    memory.network.add_link(&id("host:br0"), bridge(), Mark::Both(&lab)).unwrap();
    assert!(memory.observe(&State::default()).unwrap().state.link(&id("host:br0")).is_some());
}

#[test]
fn conflicting_foreign_objects_are_described() {
    let mut memory = machine();
    let (red, eth0) = ("red".parse().unwrap(), id("host:eth0"));
    memory.network.add_namespace(&red).unwrap();
    memory.network.add_address_to(&eth0, "10.0.0.1/24".parse().unwrap()).unwrap();
    let (key, way) = route("10.9.0.0/16 via=10.0.0.9");
    memory.network.add_route_to(&NamespaceName::host(), &key, &way, 4).unwrap();
    let live = memory.observe(&desired()).unwrap();
    let foreign: Vec<_> = live.foreign.iter().map(|(id, what)| format!("{id}: {what}")).collect();
    assert_eq!(
        foreign,
        [
            "red: a namespace that topo did not make",
            "host:eth0 10.0.0.1/24: an address that topo did not make",
            "host 10.9.0.0/16: a route that topo did not make",
        ]
    );
    assert!(memory.observe(&State::default()).unwrap().foreign.is_empty());
}

#[test]
fn an_alternative_name_conflicts_too() {
    let mut memory = machine();
    let eth0 = memory.network.handle(&id("host:eth0")).unwrap();
    let change = LinkChange { add_altnames: vec!["br0".into()], ..LinkChange::of(eth0) };
    memory.network.by_hand(&Operation::ChangeLink(Box::new(change))).unwrap();
    let live = memory.observe(&desired()).unwrap();
    assert_eq!(live.foreign[&ResourceId::Link(id("host:br0"))].to_string(), "an alternative name of `eth0`");
}

#[test]
fn objects_of_the_kernel_and_daemons_in_an_own_namespace_are_ignored() {
    let mut world = World::new();
    world.pair("red:a", "red:b").unwrap();
    world.up("red:a").unwrap();
    world.add("red:a", "10.0.0.1/24").unwrap();
    let (red, bgp) = ("red".parse().unwrap(), 186);
    for (text, protocol) in [("10.1.0.0/16 dev=a", 4), ("10.2.0.0/16 dev=a", bgp), ("10.3.0.0/16 dev=a", 3)] {
        let (key, way) = route(text);
        world.network().add_route_to(&red, &key, &way, protocol).unwrap();
    }
    assert_eq!(world.routes("red"), ["10.1.0.0/16 dev a", "10.3.0.0/16 dev a"]);
    let link = world.find("red:a").unwrap();
    let LinkSettings { mac, mtu, up, txqueuelen, arp, multicast, allmulti, promisc, altnames, master: _ } = link.settings;
    assert!(mac.is_some() && altnames.is_some());
    assert_eq!((mtu, up, txqueuelen), (Some(1500), Some(true), Some(1000)));
    assert_eq!((arp, multicast, allmulti, promisc), (Some(true), Some(true), Some(false), Some(false)));
}

#[test]
fn a_namespace_without_its_mark_is_foreign() {
    let mut world = World::new();
    world.network().set_namespace_mark(&"red".parse().unwrap(), "");
    world.network().set_namespace_mark(&"blue".parse().unwrap(), "topo:other/blue");
    assert_eq!(world.live().state.namespaces.len(), 0);
    let mut wanted = desired();
    wanted.namespaces.insert("blue".parse().unwrap());
    let live = world.memory.observe(&wanted).unwrap();
    let foreign: Vec<_> = live.foreign.values().map(ToString::to_string).collect();
    assert_eq!(foreign, ["a namespace of the lab `other`", "a namespace that topo did not make"]);
}

#[test]
fn a_lab_can_only_delete_its_own_routes_in_host() {
    let mut world = World { memory: machine(), next: 1 << 20 };
    world.add("host:eth0", "10.0.0.1/24").unwrap();
    let (key, way) = route("10.9.0.0/16 via=10.0.0.9");
    world.network().add_route_to(&NamespaceName::host(), &key, &way, 4).unwrap();
    assert_eq!(world.delete_route("host", "10.9.0.0/16 via=10.0.0.9"), Err(libc::ESRCH));
    assert_eq!(world.route("host", "10.9.0.0/16 via=10.0.0.9"), Err(libc::EEXIST), "the protocol is not part of the key");
}

#[test]
fn networks_are_equal_if_nothing_visible_differs() {
    let mut world = World::new();
    let before = world.memory.network.clone();
    world.pair("red:a", "host:a").unwrap();
    assert!(world.memory.network != before);
    world.delete("red:a").unwrap();
    assert!(world.memory.network == before);
}

#[test]
fn a_declared_route_in_an_own_namespace_is_the_labs_whoever_added_it() {
    let mut world = World::new();
    world.pair("red:a", "red:b").unwrap();
    world.up("red:a").unwrap();
    let red: NamespaceName = "red".parse().unwrap();
    let (key, way) = route("10.2.0.0/16 dev=a");
    let mut desired = State::default();
    desired.insert(&red, key.clone(), way.clone());
    for protocol in [3, 9, 186] {
        world.network().add_route_to(&red, &key, &way, protocol).unwrap();
        let live = world.memory.observe(&desired).unwrap();
        assert!(live.foreign.is_empty(), "{protocol}");
        let found = &live.state.objects::<Route>()[&(red.clone(), key.clone())];
        assert_eq!(found.protocol, Some(protocol).filter(|protocol| *protocol != 3));
        world.network().delete_route_of(&red, &key, &way).unwrap();
    }
}
