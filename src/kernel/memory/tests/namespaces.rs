use super::*;

#[test]
fn a_new_namespace_has_lo_up_and_nothing_else() {
    let mut world = World::new();
    let live = world.live();
    let links: Vec<_> = live.state.links.iter().map(|(id, link)| (id.to_string(), link.settings.up)).collect();
    assert_eq!(links, [("blue:lo".into(), Some(true)), ("red:lo".into(), Some(true))]);
    assert_eq!(live.indices[&id("red:lo")], 1);
    assert_eq!(world.addresses("red:lo"), "");
}

#[test]
fn a_name_is_taken_by_namespaces_and_files() {
    let mut world = World::new();
    world.network().add_namespace(&"green".parse().unwrap()).unwrap();
    assert_eq!(world.namespace("red"), Err(libc::EEXIST));
    assert_eq!(world.namespace("green"), Err(libc::EEXIST));
    let lab = "blog".parse().unwrap();
    world.network().break_namespace(&lab, &"half".parse().unwrap());
    assert_eq!(world.namespace("half"), Err(libc::EEXIST));
}

#[test]
fn deleting_a_namespace_deletes_dependent_links_elsewhere() {
    let mut world = World::new();
    world.pair("red:a", "blue:a").unwrap();
    world.link("red:br0", bridge()).unwrap();
    world.link("blue:mv", macvlan("red:br0", MacvlanMode::Bridge)).unwrap();
    world.link("blue:vlan", vlan("red:br0", 5)).unwrap();
    let mut tunnel = world.new_link("blue:vx", vxlan(1, None));
    if let Kind::Vxlan(vxlan) = &mut tunnel.link.kind {
        vxlan.underlay = "red".parse().ok();
    }
    world.create(tunnel).unwrap();
    world.link("blue:stays", dummy()).unwrap();
    world.run(Operation::DeleteNamespace("red".parse().unwrap())).unwrap();
    let left: Vec<_> = world.live().state.links.keys().map(ToString::to_string).collect();
    assert_eq!(left, ["blue:lo", "blue:stays"]);
}

#[test]
fn only_the_labs_own_namespaces_can_be_deleted() {
    let mut world = World::new();
    world.network().add_namespace(&"green".parse().unwrap()).unwrap();
    for name in ["green", "host", "nowhere"] {
        assert_eq!(world.run(Operation::DeleteNamespace(name.parse().unwrap())), Err(libc::ENOENT), "{name}");
    }
}

#[test]
fn an_incomplete_namespace_of_the_lab_is_broken_and_deletable() {
    let mut world = World::new();
    let (lab, name): (LabName, NamespaceName) = ("blog".parse().unwrap(), "red".parse().unwrap());
    world.network().break_namespace(&lab, &name);
    let live = world.live();
    assert!(live.broken.contains(&name) && live.state.namespaces.contains(&name));
    world.run(Operation::DeleteNamespace(name)).unwrap();
    world.namespace("red").unwrap();
}

#[test]
fn operations_need_an_existing_namespace() {
    let mut world = World::new();
    assert_eq!(world.link("green:br0", bridge()), Err(libc::ENOENT));
    assert_eq!(world.pair("red:a", "green:a"), Err(libc::ENOENT));
    assert_eq!(world.write("green", "net.ipv4.ip_forward", "1"), Err(libc::ENOENT));
    assert_eq!(world.route("green", "10.0.0.0/8 blackhole"), Err(libc::ENOENT));
}
