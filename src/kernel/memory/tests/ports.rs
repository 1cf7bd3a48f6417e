//! Ports of bridges with their options (net/bridge/br_netlink.c).

use super::*;
use crate::name::LinkName;
use crate::operation::PortChange;
use crate::resource::link::Port;
use crate::resource::link::bridge::Bridge;
use crate::resource::link::bridge_port::{BackupPort, BridgePort, PortState};

/// A bridge `red:br0` with a port `red:p`, whose other end is `blue:e`, and a dummy `red:d` beside it; all are up.
fn world() -> World {
    let mut world = World::new();
    world.link("red:br0", bridge()).unwrap();
    world.link("red:d", dummy()).unwrap();
    world.pair("red:p", "blue:e").unwrap();
    for link in ["red:br0", "red:d", "red:p", "blue:e"] {
        world.up(link).unwrap();
    }
    world.enslave("red:p", "red:br0").unwrap();
    world
}

fn set(world: &mut World, port: &str, options: BridgePort) -> Outcome {
    let backup = options.backup_port.and_then(|backup| backup.0);
    let reference = backup.map(|name| world.handle(&format!("red:{name}")));
    let change = PortChange { options: options.into(), reference };
    world.change(LinkChange { port: Some(Box::new(change)), ..world.changing(port) })
}

fn port(world: &mut World, name: &str) -> Option<BridgePort> {
    let Port::Bridge(port) = world.find(name)?.port?;
    Some(*port)
}

fn state(world: &mut World) -> Option<PortState> {
    port(world, "red:p")?.state
}

fn with_state(state: PortState) -> BridgePort {
    BridgePort { state: Some(state), ..BridgePort::default() }
}

fn with_backup(name: &str) -> BridgePort {
    BridgePort { backup_port: Some(BackupPort(Some(name.parse().unwrap()))), ..BridgePort::default() }
}

#[test]
fn the_options_come_and_go_with_the_bridge() {
    let mut world = world();
    let isolated = || BridgePort { isolated: Some(true), cost: Some(7), ..BridgePort::default() };
    assert_eq!(set(&mut world, "red:d", isolated()), Err(libc::EOPNOTSUPP));
    set(&mut world, "red:p", isolated()).unwrap();
    let live = port(&mut world, "red:p").unwrap();
    assert_eq!((live.isolated, live.cost, live.learning), (Some(true), Some(7), Some(true)));
    let released = LinkChange { master: MasterChange::Release, ..world.changing("red:p") };
    world.change(released).unwrap();
    assert_eq!(port(&mut world, "red:p"), None);
    for (name, cost) in [("red:p", 2), ("red:d", 100)] {
        world.enslave(name, "red:br0").unwrap();
        let live = port(&mut world, name).unwrap();
        assert_eq!((live.isolated, live.cost), (Some(false), Some(cost)));
    }
}

#[test]
fn the_kernel_enables_what_has_a_carrier() {
    let mut world = world();
    assert_eq!(state(&mut world), Some(PortState::Forwarding));
    for undone in [PortState::Disabled, PortState::Blocking] {
        set(&mut world, "red:p", with_state(undone)).unwrap();
        assert_eq!(state(&mut world), Some(PortState::Forwarding));
    }
    for link in ["red:p", "blue:e", "red:br0"] {
        set(&mut world, "red:p", with_state(PortState::Listening)).unwrap();
        assert_eq!(state(&mut world), Some(PortState::Listening));
        world.down(link).unwrap();
        assert_eq!(state(&mut world), Some(PortState::Disabled), "{link}");
        assert_eq!(set(&mut world, "red:p", with_state(PortState::Learning)), Err(libc::ENETDOWN), "{link}");
        world.up(link).unwrap();
        assert_eq!(state(&mut world), Some(PortState::Forwarding), "{link}");
    }
    let stp = Kind::from(Bridge { stp_state: Some(true), ..Bridge::default() });
    let change = LinkChange { kind: Some(stp), ..world.changing("red:br0") };
    world.change(change).unwrap();
    assert_eq!(set(&mut world, "red:p", with_state(PortState::Listening)), Err(libc::EBUSY));
}

#[test]
fn a_backup_port_is_another_port_of_the_bridge() {
    let mut world = world();
    for other in ["p", "d"] {
        assert_eq!(set(&mut world, "red:p", with_backup(other)), Err(libc::EINVAL));
    }
    world.enslave("red:d", "red:br0").unwrap();
    set(&mut world, "red:p", with_backup("d")).unwrap();
    let backup = |world: &mut World| port(world, "red:p").unwrap().backup_port.and_then(|backup| backup.0);
    assert_eq!(backup(&mut world), Some("d".parse::<LinkName>().unwrap()));
    world.delete("red:d").unwrap();
    assert_eq!(backup(&mut world), None);
}
