use super::*;

#[test]
fn names_and_numbers_are_unique_within_a_namespace() {
    let mut world = World::new();
    world.pair("red:a", "red:b").unwrap();
    let a = world.handle("red:a");
    assert_eq!(world.link("red:a", bridge()), Err(libc::EEXIST));
    assert_eq!(world.link("blue:a", bridge()), Ok(()));
    let new = world.new_link("red:c", bridge());
    assert_eq!(world.create(NewLink { handle: LinkHandle { index: a.index, ..new.handle.clone() }, ..new }), Err(libc::EEXIST));
    let mut pair = world.pair_of("red:c", "red:d");
    pair.peer.as_mut().unwrap().handle.index = a.index;
    assert_eq!(world.create(pair), Err(libc::EBUSY));
    assert_eq!(world.pair("red:c", "red:a"), Err(libc::EEXIST));
    assert_eq!(world.pair("red:c", "red:c"), Err(libc::EEXIST));
}

#[test]
fn alternative_names_are_names() {
    let mut world = World::new();
    world.pair("red:a", "red:b").unwrap();
    let name = |world: &World, link: &str, name: &str| LinkChange { add_altnames: vec![name.into()], ..world.changing(link) };
    let change = name(&world, "red:a", "uplink");
    world.change(change).unwrap();
    assert_eq!(world.link("red:uplink", bridge()), Err(libc::EEXIST));
    for taken in ["uplink", "a"] {
        let change = name(&world, "red:b", taken);
        assert_eq!(world.change(change), Err(libc::EEXIST));
    }
    let unknown = LinkChange { remove_altnames: vec!["downlink".into()], ..world.changing("red:a") };
    assert_eq!(world.change(unknown), Err(libc::ENOENT));
    let known = LinkChange { remove_altnames: vec!["uplink".into()], ..world.changing("red:a") };
    assert_eq!(world.change(known), Ok(()));
    assert_eq!(world.link("red:uplink", bridge()), Ok(()));
}

#[test]
fn the_creating_message_ignores_alternative_names() {
    let mut world = World::new();
    let mut new = world.new_link("red:a", bridge());
    new.link.settings.altnames = Some(["uplink".to_owned()].into());
    world.create(new).unwrap();
    assert_eq!(world.find("red:a").unwrap().settings.altnames, Some([].into()));
}

#[test]
fn a_handle_needs_both_number_and_name() {
    let mut world = World::new();
    world.link("red:a", bridge()).unwrap();
    let handle = world.handle("red:a");
    for wrong in [LinkHandle { index: 77, ..handle.clone() }, LinkHandle { id: id("red:b"), ..handle.clone() }] {
        assert_eq!(world.run(Operation::DeleteLink(wrong)), Err(libc::ENODEV));
    }
    assert_eq!(world.run(Operation::DeleteLink(handle)), Ok(()));
}

#[test]
fn lo_and_hardware_cannot_be_deleted() {
    let mut world = World::new();
    assert_eq!(world.delete("red:lo"), Err(libc::EOPNOTSUPP));
    world.network().add_device(&id("host:eth0")).unwrap();
    assert_eq!(world.delete("host:eth0"), Err(libc::EOPNOTSUPP));
}

#[test]
fn a_pair_is_created_whole_its_peer_down_and_without_master() {
    let mut world = World::new();
    world.link("blue:br0", bridge()).unwrap();
    let mut pair = world.pair_of("red:a", "blue:a");
    pair.up = true;
    let peer = &mut pair.peer.as_mut().unwrap().link.settings;
    (peer.mtu, peer.up, peer.master) = (Some(1400), Some(true), "br0".parse().ok());
    world.create(pair).unwrap();
    assert_eq!((world.is_up("red:a"), world.is_up("blue:a")), (true, false));
    assert_eq!((world.mtu("red:a"), world.mtu("blue:a")), (1500, 1400));
    assert_eq!(world.master("blue:a"), None);
    let peer = |world: &mut World, link: &str| world.find(link).unwrap().kind.peer().map(ToString::to_string);
    assert_eq!(peer(&mut world, "red:a").as_deref(), Some("blue:a"));
    assert_eq!(peer(&mut world, "blue:a").as_deref(), Some("red:a"));
}

#[test]
fn a_pair_is_deleted_with_either_end() {
    for end in ["red:a", "blue:a"] {
        let mut world = World::new();
        world.pair("red:a", "blue:a").unwrap();
        world.delete(end).unwrap();
        assert!(world.find("red:a").is_none() && world.find("blue:a").is_none());
    }
}

#[test]
fn a_parent_must_exist() {
    let mut world = World::new();
    world.link("red:p", dummy()).unwrap();
    let new = world.new_link("red:v", vlan("p", 5));
    world.delete("red:p").unwrap();
    assert_eq!(world.create(new), Err(libc::ENODEV));
}

#[test]
fn upper_links_are_deleted_with_their_parent() {
    let mut world = World::new();
    world.link("red:p", dummy()).unwrap();
    world.link("red:v", vlan("p", 5)).unwrap();
    world.link("red:vv", vlan("v", 6)).unwrap();
    world.link("blue:m", macvlan("red:p", MacvlanMode::Bridge)).unwrap();
    world.link("blue:x", vxlan(7, Some("red:p"))).unwrap();
    world.delete("red:p").unwrap();
    let left: Vec<_> = world.live().state.links.keys().map(ToString::to_string).collect();
    assert_eq!(left, ["blue:lo", "red:lo"]);
}

#[test]
fn ports_survive_their_master() {
    let mut world = World::new();
    world.link("red:br0", bridge()).unwrap();
    world.pair("red:a", "blue:a").unwrap();
    world.enslave("red:a", "red:br0").unwrap();
    assert_eq!(world.master("red:a").as_deref(), Some("br0"));
    world.delete("red:br0").unwrap();
    assert_eq!(world.master("red:a"), None);
}

#[test]
fn only_a_bridge_takes_ports_and_not_every_port() {
    let mut world = World::new();
    world.link("red:br0", bridge()).unwrap();
    world.link("red:br1", bridge()).unwrap();
    world.pair("red:a", "red:b").unwrap();
    assert_eq!(world.enslave("red:a", "red:b"), Err(libc::EOPNOTSUPP));
    assert_eq!(world.enslave("red:br1", "red:br0"), Err(libc::ELOOP));
    assert_eq!(world.enslave("red:lo", "red:br0"), Err(libc::EINVAL));
    let nobody = MasterChange::Enslave(LinkHandle { id: id("red:br0"), index: 77 });
    let change = LinkChange { master: nobody, ..world.changing("red:a") };
    assert_eq!(world.change(change), Err(libc::EINVAL));
    world.link("red:br0.5", vlan("br0", 5)).unwrap();
    assert_eq!(world.enslave("red:br0.5", "red:br0"), Err(libc::EBUSY));
}

#[test]
fn a_port_cannot_carry_macvlans_nor_the_reverse() {
    let mut world = World::new();
    world.link("red:br0", bridge()).unwrap();
    world.pair("red:a", "red:b").unwrap();
    world.enslave("red:a", "red:br0").unwrap();
    assert_eq!(world.link("red:m", macvlan("a", MacvlanMode::Bridge)), Err(libc::EBUSY));
    world.link("red:m", macvlan("b", MacvlanMode::Bridge)).unwrap();
    assert_eq!(world.enslave("red:b", "red:br0"), Err(libc::EBUSY));
    assert_eq!(world.enslave("red:m", "red:br0"), Ok(()));
}

#[test]
fn a_failed_creation_leaves_nothing() {
    let mut world = World::new();
    let before = world.memory.network.fingerprint();
    let mut pair = world.pair_of("red:a", "blue:a");
    pair.master = Some(LinkHandle { id: id("red:lo"), index: 1 });
    assert_eq!(world.create(pair), Err(libc::EOPNOTSUPP));
    assert_eq!(world.memory.network.fingerprint(), before);
}

#[test]
fn a_passthru_macvlan_is_the_only_one_on_its_parent() {
    let mut world = World::new();
    world.pair("red:a", "red:b").unwrap();
    world.link("red:p", macvlan("a", MacvlanMode::Passthru)).unwrap();
    assert_eq!(world.link("red:q", macvlan("a", MacvlanMode::Passthru)), Err(libc::EINVAL));
    assert_eq!(world.link("red:q", macvlan("a", MacvlanMode::Bridge)), Err(libc::EINVAL));
    assert_eq!(world.link("red:q", macvlan("p", MacvlanMode::Bridge)), Err(libc::EINVAL));
    let change = |mode| Kind::from(Macvlan { mode: Some(mode), ..Macvlan::default() });
    let into = LinkChange { kind: Some(change(MacvlanMode::Bridge)), ..world.changing("red:p") };
    assert_eq!(world.change(into), Err(libc::EINVAL));
    world.link("red:m", macvlan("b", MacvlanMode::Bridge)).unwrap();
    assert_eq!(world.link("red:q", macvlan("b", MacvlanMode::Passthru)), Err(libc::EINVAL));
    let among = LinkChange { kind: Some(change(MacvlanMode::Private)), ..world.changing("red:m") };
    assert_eq!(world.change(among), Ok(()));
    assert_eq!(world.link("red:l", macvlan("lo", MacvlanMode::Bridge)), Err(libc::EINVAL));
}

#[test]
fn a_macvlan_on_a_macvlan_is_on_its_parent() {
    let mut world = World::new();
    world.pair("red:a", "red:b").unwrap();
    world.link("red:m", macvlan("a", MacvlanMode::Bridge)).unwrap();
    world.link("red:n", macvlan("m", MacvlanMode::Private)).unwrap();
    assert_eq!(world.find("red:n").unwrap().kind.parent().unwrap().to_string(), "red:a");
}

#[test]
fn macvlans_need_different_hardware_addresses() {
    let mut world = World::new();
    world.pair("red:a", "red:b").unwrap();
    let mac = world.find("red:a").unwrap().settings.mac;
    let mut new = world.new_link("red:m", macvlan("a", MacvlanMode::Bridge));
    new.link.settings.mac = mac;
    world.create(new).unwrap();
    assert_eq!(world.up("red:m"), Err(libc::EADDRINUSE));
}

#[test]
fn vlans_on_a_parent_differ_in_id_or_protocol() {
    let mut world = World::new();
    world.link("red:p", dummy()).unwrap();
    world.link("red:v", vlan("p", 5)).unwrap();
    assert_eq!(world.link("red:w", vlan("p", 5)), Err(libc::EEXIST));
    assert_eq!(world.link("blue:w", vlan("red:p", 5)), Err(libc::EEXIST));
    assert_eq!(world.link("red:w", vlan("v", 5)), Ok(()));
    assert_eq!(world.link("red:l", vlan("lo", 5)), Err(libc::EOPNOTSUPP));
}

#[test]
fn a_vlan_goes_up_and_down_with_its_parent() {
    let mut world = World::new();
    world.link("red:p", bridge()).unwrap();
    world.link("red:v", vlan("p", 5)).unwrap();
    assert_eq!(world.up("red:v"), Err(libc::ENETDOWN));
    world.up("red:p").unwrap();
    assert!(world.is_up("red:v"));
    world.down("red:p").unwrap();
    assert!(!world.is_up("red:v"));
    let loose = Kind::from(Vlan { loose_binding: Some(true), ..Vlan::default() });
    let change = LinkChange { kind: Some(loose), ..world.changing("red:v") };
    world.change(change).unwrap();
    assert_eq!(world.up("red:v"), Ok(()));
}

#[test]
fn a_new_vlan_has_its_parents_flags() {
    let mut world = World::new();
    world.link("red:p", dummy()).unwrap();
    world.link("red:v", vlan("p", 5)).unwrap();
    let settings = world.find("red:v").unwrap().settings;
    assert_eq!((settings.arp, settings.multicast), (Some(false), Some(false)));
}

#[test]
fn vxlans_of_an_underlay_differ_in_vni_or_port() {
    let mut world = World::new();
    world.link("red:x", vxlan(7, None)).unwrap();
    assert_eq!(world.link("red:y", vxlan(7, None)), Err(libc::EEXIST));
    assert_eq!(world.link("blue:y", vxlan(7, None)), Ok(()));
    world.pair("red:a", "red:b").unwrap();
    assert_eq!(world.link("blue:z", vxlan(7, Some("red:a"))), Err(libc::EEXIST));
    let ipv6 = Vxlan { id: Some(7), remote: "2001:db8::1".parse().ok(), ..Vxlan::default() };
    assert_eq!(world.link("red:y", Kind::from(ipv6)), Ok(()));
}

#[test]
fn options_fixed_at_creation_cannot_be_changed() {
    let mut world = World::new();
    world.link("red:x", vxlan(7, None)).unwrap();
    let change = LinkChange { kind: Some(vxlan(8, None)), ..world.changing("red:x") };
    assert_eq!(world.change(change), Err(libc::EOPNOTSUPP));
    let learning = Kind::from(Vxlan { learning: Some(false), ..Vxlan::default() });
    let change = LinkChange { kind: Some(learning), ..world.changing("red:x") };
    assert_eq!(world.change(change), Ok(()));
    let change = LinkChange { kind: Some(bridge()), ..world.changing("red:x") };
    assert_eq!(world.change(change), Err(libc::EOPNOTSUPP));
}

#[test]
fn changes_before_a_refusal_remain() {
    let mut world = World::new();
    world.pair("red:a", "red:b").unwrap();
    let change =
        LinkChange { settings: with_mtu(1400), master: MasterChange::Enslave(world.handle("red:b")), ..world.changing("red:a") };
    assert_eq!(world.change(change), Err(libc::EOPNOTSUPP));
    assert_eq!(world.mtu("red:a"), 1400);
}
