use super::*;

fn of_all(world: &World, family: &str, name: &str) -> String {
    let read = |whose: &str| world.read("red", &format!("net.{family}.conf.{whose}.{name}"));
    ["all", "default", "lo", "a", "b"].map(read).join(" ")
}

fn world() -> World {
    let mut world = World::new();
    world.pair("red:a", "red:b").unwrap();
    world
}

#[test]
fn unknown_settings_and_impossible_values_are_refused() {
    let mut world = world();
    assert_eq!(world.write("red", "net.ipv4.nosuch", "1"), Err(libc::ENOENT));
    assert_eq!(world.write("red", "net.ipv4.conf.nosuch.rp_filter", "1"), Err(libc::ENOENT));
    assert_eq!(world.write("red", "net.ipv4.ip_forward", "yes"), Err(libc::EINVAL));
}

#[test]
fn a_new_interface_inherits_the_default() {
    let mut world = world();
    world.write("red", "net.ipv6.conf.default.accept_ra", "0").unwrap();
    assert_eq!(of_all(&world, "ipv6", "accept_ra"), "1 0 1 1 1");
    world.link("red:new", dummy()).unwrap();
    assert_eq!(world.read("red", "net.ipv6.conf.new.accept_ra"), "0");
    assert_eq!(world.read("blue", "net.ipv6.conf.default.accept_ra"), "1");
}

#[test]
fn the_ipv4_default_changes_interfaces_whose_value_was_never_set() {
    let mut world = world();
    world.add("red:b", "10.0.0.1/24").unwrap();
    world.write("red", "net.ipv4.conf.default.rp_filter", "2").unwrap();
    assert_eq!(of_all(&world, "ipv4", "rp_filter"), "0 2 0 2 0");
    world.write("red", "net.ipv4.conf.a.arp_ignore", "1").unwrap();
    world.write("red", "net.ipv4.conf.default.arp_ignore", "2").unwrap();
    assert_eq!(of_all(&world, "ipv4", "arp_ignore"), "0 2 0 1 0");
    world.write("red", "net.ipv4.conf.default.forwarding", "1").unwrap();
    assert_eq!(of_all(&world, "ipv4", "forwarding"), "0 1 0 0 0");
}

#[test]
fn forwarding_is_copied_to_all_interfaces_when_it_changes() {
    let mut world = world();
    world.write("red", "net.ipv4.ip_forward", "1").unwrap();
    assert_eq!(of_all(&world, "ipv4", "forwarding"), "1 1 1 1 1");
    assert_eq!(of_all(&world, "ipv4", "accept_redirects"), "0 1 1 1 1");
    world.write("red", "net.ipv4.conf.a.forwarding", "0").unwrap();
    world.write("red", "net.ipv4.conf.all.forwarding", "1").unwrap();
    assert_eq!(of_all(&world, "ipv4", "forwarding"), "1 1 1 0 1");
    world.write("red", "net.ipv4.conf.all.forwarding", "0").unwrap();
    assert_eq!(of_all(&world, "ipv4", "forwarding"), "0 0 0 0 0");
    assert_eq!(world.read("red", "net.ipv4.ip_forward"), "0");
}

#[test]
fn some_ipv6_sysctls_are_copied_to_interfaces() {
    let mut world = world();
    world.write("red", "net.ipv6.conf.all.forwarding", "1").unwrap();
    assert_eq!(of_all(&world, "ipv6", "forwarding"), "1 1 1 1 1");
    world.write("red", "net.ipv6.conf.all.accept_ra", "0").unwrap();
    assert_eq!(of_all(&world, "ipv6", "accept_ra"), "0 1 1 1 1");
    world.write("red", "net.ipv6.conf.a.disable_ipv6", "1").unwrap();
    assert_eq!(of_all(&world, "ipv6", "disable_ipv6"), "0 0 0 1 0");
    world.write("red", "net.ipv6.conf.all.disable_ipv6", "0").unwrap();
    assert_eq!(of_all(&world, "ipv6", "disable_ipv6"), "0 0 0 0 0");
}

#[test]
fn the_sysctls_of_an_interface_are_removed_with_it() {
    let mut world = world();
    world.write("red", "net.ipv4.conf.a.rp_filter", "1").unwrap();
    world.delete("red:a").unwrap();
    assert_eq!(world.read("red", "net.ipv4.conf.a.rp_filter"), "none");
    world.link("red:a", dummy()).unwrap();
    assert_eq!(world.read("red", "net.ipv4.conf.a.rp_filter"), "0");
}

#[test]
fn defaults_are_those_of_a_new_namespace() {
    let mut world = world();
    world.write("host", "net.ipv4.ip_forward", "1").unwrap();
    let key = SysctlKey::of_namespace("net.ipv4.ip_forward").unwrap();
    let unknown = SysctlKey::of_namespace("net.ipv4.nosuch").unwrap();
    let values = world.memory.defaults(&[key.clone(), unknown].into()).unwrap();
    assert_eq!(values, [(key, "0".to_owned())].into());
}
