use super::*;

#[test]
fn a_new_upper_link_has_its_parents_mtu() {
    let mut world = World::new();
    world.pair("red:a", "red:b").unwrap();
    world.set("red:a", with_mtu(1400)).unwrap();
    world.link("red:v", vlan("a", 5)).unwrap();
    world.link("blue:m", macvlan("red:a", MacvlanMode::Bridge)).unwrap();
    world.link("red:x", vxlan(7, Some("a"))).unwrap();
    assert_eq!((world.mtu("red:v"), world.mtu("blue:m"), world.mtu("red:x")), (1400, 1400, 1350));
}

#[test]
fn the_mtu_of_an_upper_link_is_at_most_its_parents() {
    let mut world = World::new();
    world.pair("red:a", "red:b").unwrap();
    for (name, kind, error) in [
        ("red:v", vlan("a", 5), libc::ERANGE),
        ("red:m", macvlan("a", MacvlanMode::Bridge), libc::EINVAL),
        ("red:x", vxlan(7, Some("a")), libc::EINVAL),
    ] {
        world.link(name, kind).unwrap();
        assert_eq!(world.set(name, with_mtu(1501)), Err(error), "{name}");
    }
    for (name, kind) in [("red:v2", vlan("a", 6)), ("red:m2", macvlan("a", MacvlanMode::Bridge))] {
        let mut new = world.new_link(name, kind);
        new.link.settings.mtu = Some(1501);
        assert_eq!(world.create(new), Err(libc::EINVAL), "{name}");
    }
}

#[test]
fn the_kernel_silently_reduces_the_mtu_of_a_vxlan() {
    let mut world = World::new();
    world.pair("red:a", "red:b").unwrap();
    let mut new = world.new_link("red:x", vxlan(7, Some("a")));
    new.link.settings.mtu = Some(1500);
    world.create(new).unwrap();
    assert_eq!(world.mtu("red:x"), 1450);
}

#[test]
fn the_mtu_of_upper_links_shrinks_with_the_parents_but_does_not_grow() {
    let mut world = World::new();
    world.pair("red:a", "red:b").unwrap();
    world.link("red:v", vlan("a", 5)).unwrap();
    world.link("red:m", macvlan("v", MacvlanMode::Bridge)).unwrap();
    world.link("red:x", vxlan(7, Some("a"))).unwrap();
    for (mtu, expected) in [(1300, 1300), (1500, 1300)] {
        world.set("red:a", with_mtu(mtu)).unwrap();
        assert_eq!((world.mtu("red:v"), world.mtu("red:m"), world.mtu("red:x")), (expected, expected, 1450));
    }
}

#[test]
fn a_bridge_follows_its_smallest_port_until_its_mtu_is_set() {
    let mut world = World::new();
    let mut new = world.new_link("red:br0", bridge());
    new.link.settings.mtu = Some(1400);
    world.create(new).unwrap();
    assert_eq!(world.mtu("red:br0"), 1400);
    world.pair("red:a", "red:b").unwrap();
    world.enslave("red:a", "red:br0").unwrap();
    // The mtu in the creating message does not count.
    assert_eq!(world.mtu("red:br0"), 1500);
    world.set("red:a", with_mtu(1300)).unwrap();
    assert_eq!(world.mtu("red:br0"), 1300);
    world.delete("red:a").unwrap();
    assert_eq!(world.mtu("red:br0"), 1500);
    world.set("red:br0", with_mtu(9000)).unwrap();
    world.pair("red:a", "red:b").unwrap();
    world.enslave("red:a", "red:br0").unwrap();
    assert_eq!(world.mtu("red:br0"), 9000);
}

#[test]
fn an_mtu_is_within_the_kinds_limits() {
    let mut world = World::new();
    world.pair("red:a", "red:b").unwrap();
    world.link("red:d", dummy()).unwrap();
    assert_eq!(world.set("red:a", with_mtu(67)), Err(libc::EINVAL));
    assert_eq!(world.set("red:a", with_mtu(65536)), Err(libc::EINVAL));
    assert_eq!(world.set("red:d", with_mtu(100_000)), Ok(()));
}

#[test]
fn a_small_mtu_removes_ipv6_from_a_link() {
    let mut world = World::new();
    world.pair("red:a", "red:b").unwrap();
    world.up("red:a").unwrap();
    world.add("red:a", "2001:db8::1/64").unwrap();
    world.add("red:a", "10.0.0.1/24").unwrap();
    world.route("red", "2001:db8:1::/64 dev=a").unwrap();
    world.write("red", "net.ipv6.conf.a.accept_ra", "0").unwrap();
    world.set("red:a", with_mtu(1279)).unwrap();
    assert_eq!(world.addresses("red:a"), "10.0.0.1/24");
    assert_eq!(world.routes("red"), [] as [&str; 0]);
    assert_eq!(world.read("red", "net.ipv6.conf.a.accept_ra"), "none");
    assert_eq!(world.add("red:a", "2001:db8::1/64"), Err(libc::EINVAL));
    world.set("red:a", with_mtu(1280)).unwrap();
    assert_eq!(world.read("red", "net.ipv6.conf.a.accept_ra"), "1");
    assert_eq!(world.add("red:a", "2001:db8::1/64"), Ok(()));
}
