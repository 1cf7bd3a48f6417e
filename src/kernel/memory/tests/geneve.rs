//! Geneves (drivers/net/geneve.c). The expected results were verified on Linux 6.1.

use super::*;
use crate::resource::link::geneve::{Geneve, GeneveDf, Ttl};

fn geneve(remote: &str) -> Geneve {
    Geneve { id: Some(42), remote: remote.parse().ok(), ..Geneve::default() }
}

#[test]
fn geneves_of_a_namespace_differ_in_id_port_or_remote() {
    let mut world = World::new();
    world.link("red:a", geneve("10.0.0.2").into()).unwrap();
    assert_eq!(world.link("red:b", geneve("10.0.0.2").into()), Err(libc::EBUSY));
    world.link("red:b", geneve("10.0.0.3").into()).unwrap();
    world.link("red:c", Geneve { port: Some(6082), ..geneve("10.0.0.2") }.into()).unwrap();
    world.link("blue:a", geneve("10.0.0.2").into()).unwrap();
    let external = |port| Geneve { external: Some(true), port: Some(port), ..Geneve::default() };
    world.link("red:d", external(6083).into()).unwrap();
    assert_eq!(world.link("red:e", external(6083).into()), Err(libc::EPERM));
}

#[test]
fn a_change_within_the_family_is_made_and_others_are_refused() {
    let mut world = World::new();
    world.link("red:a", geneve("10.0.0.2").into()).unwrap();
    let mut change = |kind: Geneve| {
        let change = LinkChange { kind: Some(kind.into()), ..world.changing("red:a") };
        world.change(change)
    };
    change(Geneve { ttl: Some(Ttl::Inherit), df: Some(GeneveDf::Set), ..geneve("10.0.0.3") }).unwrap();
    assert_eq!(change(geneve("2001:db8::2")), Err(libc::EOPNOTSUPP));
    assert_eq!(change(Geneve { id: Some(43), ..Geneve::default() }), Err(libc::EOPNOTSUPP));
    assert_eq!(change(Geneve { udpcsum: Some(true), ..Geneve::default() }), Err(libc::EOPNOTSUPP));
}
