use super::*;
use crate::resource::route::Scope;

fn world() -> World {
    let mut world = World::new();
    world.pair("red:a", "red:b").unwrap();
    world.up("red:a").unwrap();
    world
}

#[test]
fn an_address_is_added_once() {
    let mut world = world();
    for address in ["10.0.0.1/24", "2001:db8::1/64"] {
        world.add("red:a", address).unwrap();
        assert_eq!(world.add("red:a", address), Err(libc::EEXIST));
        assert_eq!(world.add_with("red:a", address, Address::default(), Over::Anything), Ok(()));
        assert_eq!(world.add("red:b", address), Ok(()), "on another link");
        world.take("red:a", address).unwrap();
        assert_eq!(world.take("red:a", address), Err(libc::EADDRNOTAVAIL));
    }
}

#[test]
fn the_prefix_length_distinguishes_ipv4_addresses_but_not_ipv6_ones() {
    let mut world = world();
    world.add("red:a", "10.0.0.1/24").unwrap();
    assert_eq!(world.add("red:a", "10.0.0.1/25"), Ok(()));
    world.add("red:a", "2001:db8::1/64").unwrap();
    assert_eq!(world.add("red:a", "2001:db8::1/65"), Err(libc::EEXIST));
    world.add_with("red:a", "2001:db8::1/65", Address::default(), Over::Anything).unwrap();
    assert_eq!(world.addresses("red:a"), "10.0.0.1/24 10.0.0.1/25 2001:db8::1/64");
    assert_eq!(world.take("red:a", "2001:db8::1/65"), Err(libc::EADDRNOTAVAIL));
}

#[test]
fn primaries_come_first_and_are_deleted_with_their_secondaries() {
    let mut world = world();
    for address in ["10.0.0.1/24", "10.0.0.2/24", "10.1.0.1/24", "10.0.0.3/24"] {
        world.add("red:a", address).unwrap();
    }
    assert_eq!(world.addresses("red:a"), "10.0.0.1/24 10.1.0.1/24 10.0.0.2/24 10.0.0.3/24");
    world.take("red:a", "10.0.0.2/24").unwrap();
    assert_eq!(world.addresses("red:a"), "10.0.0.1/24 10.1.0.1/24 10.0.0.3/24");
    world.take("red:a", "10.0.0.1/24").unwrap();
    assert_eq!(world.addresses("red:a"), "10.1.0.1/24");
}

#[test]
fn a_secondary_is_promoted_where_the_sysctl_is_set() {
    let mut world = world();
    world.write("red", "net.ipv4.conf.all.promote_secondaries", "1").unwrap();
    for address in ["10.0.0.1/24", "10.0.0.2/24", "10.0.0.3/24"] {
        world.add("red:a", address).unwrap();
    }
    world.take("red:a", "10.0.0.1/24").unwrap();
    assert_eq!(world.addresses("red:a"), "10.0.0.2/24 10.0.0.3/24");
    assert_eq!(world.route("red", "10.9.0.0/16 via=10.0.0.9"), Ok(()), "the subnet is still connected");
}

#[test]
fn a_subnet_has_one_scope() {
    let mut world = world();
    world.add("red:a", "10.0.0.1/24").unwrap();
    let link = Address { scope: Some(Scope::Link), ..Address::default() };
    assert_eq!(world.add_with("red:a", "10.0.0.2/24", link, Over::Nothing), Err(libc::EINVAL));
}

#[test]
fn the_peer_distinguishes_ipv4_addresses() {
    let mut world = world();
    let with = |peer: &str| Address { peer: peer.parse().ok(), ..Address::default() };
    world.add_with("red:a", "10.0.0.1/32", with("10.0.0.8"), Over::Nothing).unwrap();
    assert_eq!(world.add_with("red:a", "10.0.0.1/32", with("10.0.0.9"), Over::Nothing), Ok(()));
    assert_eq!(world.add_with("red:a", "10.0.0.1/32", with("10.0.0.9"), Over::Nothing), Err(libc::EEXIST));
    assert_eq!(world.route("red", "10.9.0.0/16 via=10.0.0.8"), Ok(()), "the far end is on the link");
}

#[test]
fn ipv6_addresses_need_ipv6() {
    let mut world = world();
    world.write("red", "net.ipv6.conf.a.disable_ipv6", "1").unwrap();
    assert_eq!(world.add("red:a", "2001:db8::1/64"), Err(libc::EACCES));
    world.write("red", "net.ipv6.conf.a.disable_ipv6", "0").unwrap();
    assert_eq!(world.add("red:a", "2001:db8::1/64"), Ok(()));
    world.write("red", "net.ipv6.conf.all.disable_ipv6", "1").unwrap();
    assert_eq!(world.addresses("red:a"), "");
}

#[test]
fn ipv6_addresses_are_removed_when_the_link_goes_down() {
    let mut world = world();
    world.down("red:a").unwrap();
    world.add("red:a", "2001:db8::1/64").unwrap();
    world.add("red:a", "10.0.0.1/24").unwrap();
    world.up("red:a").unwrap();
    assert_eq!(world.addresses("red:a"), "10.0.0.1/24 2001:db8::1/64");
    world.down("red:a").unwrap();
    assert_eq!(world.addresses("red:a"), "10.0.0.1/24");
}

#[test]
fn the_kernels_own_addresses_are_not_reported_and_cannot_be_added() {
    let mut world = world();
    assert_eq!(world.add("red:lo", "127.0.0.1/8"), Err(libc::EEXIST));
    assert_eq!(world.add("red:lo", "::1/128"), Err(libc::EEXIST));
    assert_eq!(world.add("red:lo", "127.0.0.2/8"), Ok(()));
    assert_eq!(world.add("red:a", "::1/128"), Err(libc::EADDRNOTAVAIL));
    assert_eq!(world.addresses("red:lo"), "127.0.0.2/8");
}

#[test]
fn a_lifetime_is_positive_and_preferred_is_at_most_valid() {
    use crate::resource::address::Lifetime;
    use crate::value::Duration;
    let mut world = world();
    let with = |valid, preferred| Address {
        lifetime: Some(Lifetime { valid: Duration::seconds(valid), preferred: Duration::seconds(preferred) }),
        ..Address::default()
    };
    assert_eq!(world.add_with("red:a", "10.0.0.1/24", with(0, 0), Over::Nothing), Err(libc::EINVAL));
    assert_eq!(world.add_with("red:a", "10.0.0.1/24", with(5, 6), Over::Nothing), Err(libc::EINVAL));
    assert_eq!(world.add_with("red:a", "10.0.0.1/24", with(6, 5), Over::Nothing), Ok(()));
}

#[test]
fn an_ipv6_address_with_a_peer_has_two_connected_routes() {
    let mut world = world();
    let peer = |text: &str| Address { peer: text.parse().ok(), ..Address::default() };
    world.add_with("red:a", "2001:db8:1::1/64", peer("2001:db8:2::2"), Over::Nothing).unwrap();
    let red: NamespaceName = "red".parse().unwrap();
    let routes = |world: &World| -> Vec<String> {
        let routes = world.memory.network.namespaces[&red].routes.iter().map(|entry| entry.to.to_string());
        routes.filter(|to| to.starts_with("2001")).collect()
    };
    assert_eq!(routes(&world), ["2001:db8:1::/64", "2001:db8:2::2/128"]);
    world.take("red:a", "2001:db8:1::1/64").unwrap();
    assert!(routes(&world).is_empty());
}
