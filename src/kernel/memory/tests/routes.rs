use super::*;

const NONE: [&str; 0] = [];

/// `red` with the pairs a-b and c-d; `a` and `c` are up, `a` has 10.0.0.1/24 and 2001:db8::1/64, `c` 10.3.0.1/24 and
/// 2001:db8:3::1/64.
fn world() -> World {
    let mut world = World::new();
    world.pair("red:a", "red:b").unwrap();
    world.pair("red:c", "red:d").unwrap();
    for (link, inet, inet6) in [("red:a", "10.0.0.1/24", "2001:db8::1/64"), ("red:c", "10.3.0.1/24", "2001:db8:3::1/64")] {
        world.up(link).unwrap();
        world.add(link, inet).unwrap();
        world.add(link, inet6).unwrap();
    }
    world
}

#[test]
fn a_gateway_must_be_on_a_connected_link() {
    let mut world = world();
    assert_eq!(world.route("red", "10.1.0.0/24 via=10.0.0.9"), Ok(()));
    assert_eq!(world.route("red", "10.2.0.0/24 via=10.9.0.9"), Err(libc::ENETUNREACH));
    assert_eq!(world.route("red", "10.2.0.0/24 via=10.0.0.9 dev=c"), Err(libc::ENETUNREACH));
    assert_eq!(world.route("red", "10.2.0.0/24 via=10.1.0.9"), Err(libc::ENETUNREACH), "by way of a gateway");
    assert_eq!(world.route("red", "10.2.0.0/24 via=10.0.0.255"), Err(libc::EINVAL), "everybody is no gateway");
    assert_eq!(world.route("red", "10.2.0.0/24 via=10.0.0.1"), Ok(()), "the machine itself may be one");
    assert_eq!(world.route("red", "2001:db8:8::/64 via=2001:db8::9"), Ok(()));
    assert_eq!(world.route("red", "2001:db8:9::/64 via=2001:db8:8::9"), Err(libc::EHOSTUNREACH));
    assert_eq!(world.route("red", "2001:db8:9::/64 via=2001:db8:77::9"), Err(libc::EHOSTUNREACH));
    assert_eq!(world.route("red", "2001:db8:9::/64 via=2001:db8::9 dev=c"), Err(libc::EHOSTUNREACH));
    assert_eq!(world.route("red", "2001:db8:9::/64 via=2001:db8::1"), Err(libc::EINVAL), "for IPv6 it may not");
    assert_eq!(world.route("red", "2001:db8:9::/64 via=fe80::1"), Err(libc::EINVAL));
    assert_eq!(world.route("red", "2001:db8:9::/64 via=fe80::1 dev=c"), Ok(()));
}

#[test]
fn a_route_on_the_link_makes_gateways_reachable() {
    let mut world = world();
    world.route("red", "10.9.0.0/24 dev=c").unwrap();
    assert_eq!(world.route("red", "10.2.0.0/24 via=10.9.0.9"), Ok(()));
    world.route("red", "2001:db8:77::/64 dev=c").unwrap();
    assert_eq!(world.route("red", "2001:db8:9::/64 via=2001:db8:77::9"), Ok(()));
    world.route("red", "10.10.0.0/24 dev=c table=7").unwrap();
    assert_eq!(world.route("red", "10.2.0.0/24 via=10.10.0.9 table=7"), Ok(()));
    assert_eq!(world.route("red", "10.2.1.0/24 via=10.10.0.9"), Err(libc::ENETUNREACH));
}

#[test]
fn on_link_gateways_need_no_address_but_an_interface_that_is_up() {
    let mut world = world();
    assert_eq!(world.route("red", "10.2.0.0/24 via=10.9.0.9 dev=a onlink"), Ok(()));
    assert_eq!(world.route("red", "10.4.0.0/24 via=10.9.0.9 onlink"), Err(libc::ENODEV));
    assert_eq!(world.route("red", "10.4.0.0/24 via=10.9.0.9 dev=b onlink"), Err(libc::ENETDOWN));
    assert_eq!(world.route("red", "2001:db8:9::/64 via=2001:db8:77::1 dev=b onlink"), Err(libc::ENETDOWN));
    assert_eq!(world.route("red", "2001:db8:9::/64 via=2001:db8:77::1 dev=a onlink"), Ok(()));
}

#[test]
fn the_interface_must_exist_and_be_up() {
    let mut world = world();
    assert_eq!(world.route("red", "10.2.0.0/24 dev=nosuch"), Err(libc::ENODEV));
    assert_eq!(world.route("red", "10.2.0.0/24 dev=b"), Err(libc::ENETDOWN));
    assert_eq!(world.route("red", "2001:db8:9::/64 dev=nosuch"), Err(libc::ENODEV));
    assert_eq!(world.route("red", "2001:db8:9::/64 dev=b"), Err(libc::ENETDOWN));
    world.down("red:a").unwrap();
    assert_eq!(world.route("red", "10.2.0.0/24 via=10.0.0.9"), Err(libc::ENETUNREACH));
    assert_eq!(world.route("red", "2001:db8:9::/64 via=2001:db8::9 dev=a"), Err(libc::EHOSTUNREACH));
}

#[test]
fn a_source_is_an_address_of_the_machine() {
    let mut world = world();
    assert_eq!(world.route("red", "10.2.0.0/24 dev=a src=10.9.9.9"), Err(libc::EINVAL));
    assert_eq!(world.route("red", "10.2.0.0/24 dev=a src=10.3.0.1"), Ok(()));
    assert_eq!(world.route("red", "2001:db8:9::/64 dev=a src=2001:db8:99::1"), Err(libc::EINVAL));
    assert_eq!(world.route("red", "2001:db8:9::/64 dev=a src=2001:db8:3::1"), Ok(()));
}

#[test]
fn destination_metric_and_table_distinguish_routes() {
    let mut world = world();
    world.route("red", "10.1.0.0/24 via=10.0.0.9").unwrap();
    assert_eq!(world.route("red", "10.1.0.0/24 via=10.3.0.9"), Err(libc::EEXIST));
    assert_eq!(world.route("red", "10.1.0.0/24 blackhole"), Err(libc::EEXIST));
    assert_eq!(world.route("red", "10.1.0.0/24 via=10.3.0.9 metric=5"), Ok(()));
    assert_eq!(world.route("red", "10.1.0.0/24 via=10.3.0.9 table=7"), Ok(()));
    assert_eq!(world.route("red", "10.0.0.0/24 dev=c"), Err(libc::EEXIST), "the kernel's own route");
    assert_eq!(world.route("red", "2001:db8::/64 dev=c"), Ok(()), "its metric is another");
    assert_eq!(world.replace_route("red", "10.1.0.0/24 via=10.3.0.9"), Ok(()));
    assert_eq!(world.routes("red")[0], "10.1.0.0/24 table 7 via 10.3.0.9 dev c");
}

#[test]
fn a_deletion_must_match_all_attributes_of_the_request() {
    let mut world = world();
    assert_eq!(world.delete_route("red", "10.1.0.0/24 via=10.0.0.9"), Err(libc::ESRCH));
    world.route("red", "10.1.0.0/24 via=10.0.0.9").unwrap();
    for other in ["10.1.0.0/24 via=10.0.0.8", "10.1.0.0/24 via=10.0.0.9 metric=6", "10.1.0.0/24 via=10.0.0.9 dev=c"] {
        assert_eq!(world.delete_route("red", other), Err(libc::ESRCH), "{other}");
    }
    assert_eq!(world.delete_route("red", "10.1.0.0/24 via=10.0.0.9 dev=a"), Ok(()));
}

#[test]
fn routes_are_removed_when_their_link_goes_down() {
    let mut world = world();
    for text in ["10.1.0.0/24 via=10.0.0.9", "10.2.0.0/24 dev=a", "10.4.0.0/24 blackhole", "2001:db8:8::/64 via=2001:db8::9"] {
        world.route("red", text).unwrap();
    }
    world.down("red:a").unwrap();
    assert_eq!(world.routes("red"), ["10.4.0.0/24"]);
    world.up("red:a").unwrap();
    assert_eq!(world.routes("red"), ["10.4.0.0/24"], "and do not come back");
    assert_eq!(world.route("red", "10.1.0.0/24 via=10.0.0.9"), Ok(()), "but the connected one does");
}

#[test]
fn a_dead_next_hop_comes_back_with_its_link() {
    let mut world = world();
    world.route("red", "10.1.0.0/24 via=10.0.0.9 via=10.3.0.9").unwrap();
    world.route("red", "2001:db8:8::/64 via=2001:db8::9 via=2001:db8:3::9").unwrap();
    let all =
        ["10.1.0.0/24 via 10.0.0.9 dev a, via 10.3.0.9 dev c", "2001:db8:8::/64 via 2001:db8::9 dev a, via 2001:db8:3::9 dev c"];
    world.down("red:c").unwrap();
    assert_eq!(world.routes("red"), all);
    world.up("red:c").unwrap();
    world.down("red:a").unwrap();
    assert_eq!(world.routes("red"), all);
    world.down("red:c").unwrap();
    assert_eq!(world.routes("red"), NONE);
}

#[test]
fn deleting_a_link_deletes_ipv4_routes_and_next_hops_of_ipv6_routes() {
    let mut world = world();
    world.route("red", "10.1.0.0/24 via=10.0.0.9 via=10.3.0.9").unwrap();
    world.route("red", "2001:db8:8::/64 via=2001:db8::9 via=2001:db8:3::9").unwrap();
    world.delete("red:c").unwrap();
    assert_eq!(world.routes("red"), ["2001:db8:8::/64 via 2001:db8::9 dev a"]);
}

#[test]
fn the_last_ipv4_address_of_a_link_is_deleted_with_its_ipv4_routes() {
    let mut world = world();
    world.add("red:a", "10.5.0.1/24").unwrap();
    world.route("red", "10.1.0.0/24 via=10.0.0.9").unwrap();
    world.route("red", "10.2.0.0/24 dev=a").unwrap();
    world.take("red:a", "10.0.0.1/24").unwrap();
    assert_eq!(world.routes("red"), ["10.1.0.0/24 via 10.0.0.9 dev a", "10.2.0.0/24 dev a"]);
    world.take("red:a", "10.5.0.1/24").unwrap();
    assert_eq!(world.routes("red"), NONE);
}

#[test]
fn deleting_an_ipv6_address_deletes_no_route() {
    let mut world = world();
    world.route("red", "2001:db8:8::/64 via=2001:db8::9").unwrap();
    world.take("red:a", "2001:db8::1/64").unwrap();
    assert_eq!(world.routes("red"), ["2001:db8:8::/64 via 2001:db8::9 dev a"]);
}

#[test]
fn deleting_an_address_deletes_ipv4_routes_with_that_source() {
    let mut world = world();
    world.route("red", "10.1.0.0/24 dev=a src=10.3.0.1").unwrap();
    world.route("red", "2001:db8:8::/64 dev=a src=2001:db8:3::1").unwrap();
    world.add("red:b", "10.3.0.1/32").unwrap();
    world.take("red:c", "10.3.0.1/24").unwrap();
    assert_eq!(world.routes("red").len(), 2, "another link still has it");
    world.take("red:b", "10.3.0.1/32").unwrap();
    world.take("red:c", "2001:db8:3::1/64").unwrap();
    assert_eq!(world.routes("red"), ["2001:db8:8::/64 dev a"], "an IPv6 route only loses the source");
}

#[test]
fn ipv6_multipath_routes_need_gateways() {
    let mut world = world();
    let mut at = world.at("red", "2001:db8:8::/64 via=2001:db8::9 via=2001:db8:3::9");
    at.value.nexthops[1].via = None;
    assert_eq!(world.put(Put { at, over: Over::Nothing, awaited: None }), Err(libc::EINVAL));
}

#[test]
fn without_prefix_route_the_subnet_is_not_connected() {
    let mut world = world();
    let bare = Address { noprefixroute: true, ..Address::default() };
    world.add_with("red:a", "10.20.0.1/24", bare, Over::Nothing).unwrap();
    assert_eq!(world.route("red", "10.2.0.0/24 via=10.20.0.9"), Err(libc::ENETUNREACH));
}

#[test]
fn a_route_without_next_hops_needs_nothing() {
    let mut world = World::new();
    assert_eq!(world.route("red", "10.2.0.0/24 blackhole"), Ok(()));
    assert_eq!(world.route("red", "2001:db8:9::/64 blackhole"), Ok(()));
    assert_eq!(world.routes("red"), ["10.2.0.0/24", "2001:db8:9::/64"]);
}
