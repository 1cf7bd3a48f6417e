//! Ipvlans and ipvtaps (drivers/net/ipvlan).

use super::*;
use crate::value::Mac;

/// `red:a` with an ipvlan in `red` and an ipvtap in `blue`.
fn world() -> World {
    let mut world = World::new();
    world.pair("red:a", "red:b").unwrap();
    world.link("red:m", ipvlan("a")).unwrap();
    world.link("blue:t", ipvtap("red:a")).unwrap();
    world
}

fn options(world: &mut World, link: &str) -> Vec<(&'static str, String)> {
    let shown = world.find(link).unwrap().kind.show();
    shown
        .into_iter()
        .filter(|(name, _)| *name != "parent")
        .map(|(name, value)| (name, value.as_str().unwrap().to_owned()))
        .collect()
}

#[test]
fn mode_and_flags_belong_to_the_parent() {
    let mut world = world();
    let expect = |world: &mut World, mode: &str, flags: &str| {
        for link in ["red:m", "blue:t"] {
            assert_eq!(options(world, link), [("mode", mode.to_owned()), ("flags", flags.to_owned())], "{link}");
        }
    };
    expect(&mut world, "l3", "bridge");
    let changes = Ipvtap { mode: Some(IpvlanMode::L2), flags: Some(IpvlanFlags::Private), ..Ipvtap::default() };
    let change = LinkChange { kind: Some(changes.into()), ..world.changing("blue:t") };
    world.change(change).unwrap();
    expect(&mut world, "l2", "private");
    world.link("red:n", ipvlan("a")).unwrap();
    expect(&mut world, "l3", "bridge");
}

#[test]
fn an_ipvlan_on_an_ipvlan_is_on_its_parent() {
    let mut world = world();
    for (name, kind) in [("red:n", ipvlan("m")), ("red:o", ipvtap("blue:t")), ("red:p", ipvtap("m"))] {
        world.link(name, kind).unwrap();
        assert_eq!(world.find(name).unwrap().kind.parent().unwrap().to_string(), "red:a");
    }
}

#[test]
fn a_parent_of_ipvlans_cannot_be_a_port_or_a_parent_of_macvlans() {
    let mut world = world();
    world.link("red:br0", bridge()).unwrap();
    assert_eq!(world.link("red:x", macvlan("a", MacvlanMode::Bridge)), Err(libc::EBUSY));
    assert_eq!(world.enslave("red:a", "red:br0"), Err(libc::EBUSY));
    world.enslave("red:b", "red:br0").unwrap();
    assert_eq!(world.link("red:x", ipvlan("b")), Err(libc::EBUSY));
    assert_eq!(world.link("red:x", ipvtap("lo")), Err(libc::EINVAL));
    world.link("red:x", ipvlan("br0")).unwrap();
}

#[test]
fn an_ipvlan_cannot_be_a_port_or_a_parent_of_macvlans() {
    let mut world = world();
    world.link("red:t", ipvtap("a")).unwrap();
    world.link("red:br0", bridge()).unwrap();
    for (name, error) in [("m", libc::EINVAL), ("t", libc::EBUSY)] {
        assert_eq!(world.link("red:x", macvlan(name, MacvlanMode::Bridge)), Err(error), "{name}");
        assert_eq!(world.enslave(&format!("red:{name}"), "red:br0"), Err(error), "{name}");
        assert_eq!(world.link("red:x", vlan(name, 5)), Err(libc::EOPNOTSUPP), "{name}");
    }
    world.link("red:x", vxlan(7, Some("m"))).unwrap();
}

#[test]
fn it_follows_its_parents_mtu() {
    let mut world = world();
    let mut new = world.new_link("red:n", ipvlan("a"));
    new.link.settings.mtu = Some(9000);
    world.create(new).unwrap();
    assert_eq!((world.mtu("red:m"), world.mtu("red:n")), (1500, 9000));
    for mtu in [1600, 1400] {
        world.set("red:a", with_mtu(mtu)).unwrap();
        assert_eq!((world.mtu("red:m"), world.mtu("red:n"), world.mtu("blue:t")), (mtu, mtu, mtu));
        world.set("red:m", with_mtu(1300)).unwrap();
        assert_eq!(world.mtu("red:m"), 1300);
    }
    for mtu in [67, 65536] {
        assert_eq!(world.set("red:m", with_mtu(mtu)), Err(libc::EINVAL));
    }
}

#[test]
fn it_has_its_parents_hardware_address() {
    let mut world = world();
    let mac = |world: &mut World, link: &str| world.find(link).unwrap().settings.mac;
    assert_eq!(mac(&mut world, "red:m"), mac(&mut world, "red:a"));
    let with_mac = || LinkSettings { mac: Some(Mac([2, 0, 0, 0, 0, 9])), ..LinkSettings::default() };
    assert_eq!(world.set("red:m", with_mac()), Err(libc::EOPNOTSUPP));
    world.set("red:a", with_mac()).unwrap();
    assert_eq!((mac(&mut world, "red:m"), mac(&mut world, "blue:t")), (with_mac().mac, with_mac().mac));
}

#[test]
fn an_address_is_on_one_sibling_only() {
    let mut world = world();
    for address in ["10.0.0.1/24", "2001:db8::1/64"] {
        world.add("red:m", address).unwrap();
        assert_eq!(world.add("blue:t", address), Err(libc::EADDRINUSE), "{address}");
        world.add("red:a", address).unwrap();
    }
    assert_eq!(world.add("red:m", "10.0.0.1/32"), Err(libc::EADDRINUSE));
    assert_eq!(world.add("red:m", "10.0.0.1/24"), Err(libc::EEXIST));
}

#[test]
fn the_queue_length_of_an_ipvtap_is_that_of_a_tap_device() {
    let mut world = world();
    let mut length = |link: &str| world.find(link).unwrap().settings.txqueuelen;
    assert_eq!((length("red:m"), length("blue:t")), (Some(1000), Some(500)));
}
