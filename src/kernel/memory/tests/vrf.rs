//! VRFs (drivers/net/vrf.c).

use super::*;
use crate::resource::link::vrf::Vrf;

fn vrf(table: u32) -> Kind {
    Kind::from(Vrf { table: Some(table), ..Vrf::default() })
}

/// `red` with two VRFs and the pairs a-b and c-d, all up; `a` and `c` have 10.0.0.1/24 and 2001:db8::1/64.
fn world() -> World {
    let mut world = World::new();
    world.link("red:v10", vrf(10)).unwrap();
    world.link("red:v20", vrf(20)).unwrap();
    world.pair("red:a", "red:b").unwrap();
    world.pair("red:c", "red:d").unwrap();
    for link in ["red:v10", "red:v20", "red:a", "red:b", "red:c", "red:d"] {
        world.up(link).unwrap();
    }
    world.enslave("red:a", "red:v10").unwrap();
    world.enslave("red:c", "red:v20").unwrap();
    for link in ["red:a", "red:c"] {
        world.add(link, "10.0.0.1/24").unwrap();
        world.add(link, "2001:db8::1/64").unwrap();
    }
    world
}

#[test]
fn a_gateway_is_looked_up_in_the_table_of_the_vrf() {
    let mut world = world();
    world.add("red:c", "10.0.0.9/24").unwrap();
    assert_eq!(world.route("red", "10.1.0.0/24 via=10.0.0.9 table=10"), Ok(()), "an address of the other VRF");
    assert_eq!(world.route("red", "10.1.0.0/24 via=10.0.0.2"), Err(libc::ENETUNREACH));
    assert_eq!(world.route("red", "10.1.0.0/24 via=10.0.0.2 dev=a"), Ok(()));
    assert_eq!(world.route("red", "10.1.0.0/24 via=10.0.0.255 table=10"), Err(libc::EINVAL));
    assert_eq!(world.route("red", "10.1.0.0/24 via=10.0.0.2 dev=c table=10"), Err(libc::EEXIST));
    assert_eq!(world.route("red", "10.2.0.0/24 via=10.0.0.2 dev=c table=10"), Ok(()), "by the table of the interface");
    assert_eq!(world.route("red", "2001:db8:1::/64 via=2001:db8::2 table=10"), Ok(()));
    assert_eq!(world.route("red", "2001:db8:1::/64 via=2001:db8::2"), Err(libc::EHOSTUNREACH));
    assert_eq!(world.route("red", "2001:db8:1::/64 via=2001:db8::2 dev=a"), Ok(()));
    assert_eq!(world.route("red", "2001:db8:2::/64 via=2001:db8::1 table=20"), Err(libc::EINVAL), "its own address");
}

#[test]
fn a_source_is_local_in_the_table() {
    let mut world = world();
    assert_eq!(world.route("red", "10.1.0.0/24 dev=a src=10.0.0.1"), Err(libc::EINVAL));
    assert_eq!(world.route("red", "10.1.0.0/24 dev=a src=10.0.0.1 table=10"), Ok(()));
    assert_eq!(world.route("red", "2001:db8:1::/64 dev=a src=2001:db8::1"), Ok(()));
    assert_eq!(world.route("red", "2001:db8:1::/64 dev=b src=2001:db8::1 table=10"), Err(libc::EINVAL));
}

#[test]
fn a_port_that_joins_or_leaves_keeps_only_its_ipv4_addresses() {
    let mut world = world();
    for leaves in [true, false] {
        world.add("red:a", "2001:db8::5/64").unwrap();
        world.route("red", "10.1.0.0/24 dev=a table=7").unwrap();
        world.route("red", "2001:db8:1::/64 dev=a table=7").unwrap();
        if leaves {
            world.change(LinkChange { master: MasterChange::Release, ..world.changing("red:a") }).unwrap();
        } else {
            world.enslave("red:a", "red:v20").unwrap();
        }
        assert!(world.is_up("red:a"));
        assert_eq!(world.addresses("red:a"), "10.0.0.1/24");
        assert!(!world.routes("red").iter().any(|route| route.contains("10.1.0.0") || route.contains("2001:db8:1::")));
    }
}

#[test]
fn a_vrf_that_goes_restarts_its_ports() {
    let mut world = world();
    world.delete("red:v10").unwrap();
    assert_eq!((world.addresses("red:a"), world.master("red:a")), ("10.0.0.1/24".into(), None));
    assert_eq!(world.route("red", "10.1.0.0/24 via=10.0.0.2"), Ok(()), "the subnet is in `main` again");
}

#[test]
fn a_table_is_shared_unless_the_sysctl_forbids_it() {
    let mut world = world();
    assert_eq!(world.link("red:v11", vrf(10)), Ok(()));
    assert_eq!(world.write("red", "net.vrf.strict_mode", "1"), Err(libc::EBUSY));
    world.delete("red:v11").unwrap();
    world.write("red", "net.vrf.strict_mode", "1").unwrap();
    assert_eq!(world.link("red:v11", vrf(10)), Err(libc::EEXIST));
    assert_eq!(world.link("blue:v11", vrf(10)), Ok(()));
}
