//! Changes of a drawn lab, so that one lab grows out of another.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

use super::{
    Bridge, Dummy, End, External, FEW, HOST, Lab, NeighborPart, Options, RoutePart, RulePart, Space, UPPERS, Upper, Vrf, WIRES,
    Wire, bridge, dummy, external, mtu, neighbor, options, route, rule, space, space_number, upper, vrf, wire,
};

/// Something that changes in a lab.
#[derive(Debug, Clone)]
enum Edit {
    Space(u8, Option<Space>),
    Wire(u8, Option<Wire>),
    Bridge(u8, Option<Bridge>),
    Vrf(u8, Option<Vrf>),
    Dummy(u8, Option<Dummy>),
    Upper(u8, Option<Upper>),
    /// A link, or an end of a pair as a port, has other options.
    Options(u8, Options),
    External(Option<External>),
    Route(u8, Option<RoutePart>),
    Rule(u8, Option<RulePart>),
    Neighbor(u8, Option<NeighborPart>),
    /// The addresses of an end of a pair turn around.
    TurnAddresses(u8, u8),
    /// An end of a pair moves to another namespace.
    Move(u8, u8, u8),
    /// An end of a pair is given another mtu.
    Resize(u8, u8, Option<u32>),
    /// An end of a pair is turned on or off.
    Switch(u8, u8),
    /// An end of a pair is given another hardware address.
    Readdress(u8, u8, Option<u8>),
}

fn edit() -> impl Strategy<Value = Edit> {
    let end = || (0..WIRES, 0..2_u8);
    prop_oneof![
        (0..HOST, of(space())).prop_map(|(number, part)| Edit::Space(number, part)),
        (0..WIRES, of(wire())).prop_map(|(number, part)| Edit::Wire(number, part)),
        (0..FEW, of(bridge())).prop_map(|(number, part)| Edit::Bridge(number, part)),
        (0..FEW, of(vrf())).prop_map(|(number, part)| Edit::Vrf(number, part)),
        (0..FEW, of(dummy())).prop_map(|(number, part)| Edit::Dummy(number, part)),
        (0..UPPERS, of(upper())).prop_map(|(number, part)| Edit::Upper(number, part)),
        (0..UPPERS, of(upper())).prop_map(|(number, part)| Edit::Upper(number, part)),
        (0..UPPERS + FEW + 2 * WIRES, options()).prop_map(|(number, options)| Edit::Options(number, options)),
        of(external()).prop_map(Edit::External),
        (0..8_u8, of(route())).prop_map(|(number, part)| Edit::Route(number, part)),
        (0..8_u8, of(rule())).prop_map(|(number, part)| Edit::Rule(number, part)),
        (0..8_u8, of(neighbor())).prop_map(|(number, part)| Edit::Neighbor(number, part)),
        end().prop_map(|(wire, end)| Edit::TurnAddresses(wire, end)),
        (end(), space_number()).prop_map(|((wire, end), space)| Edit::Move(wire, end, space)),
        (end(), mtu()).prop_map(|((wire, end), mtu)| Edit::Resize(wire, end, mtu)),
        end().prop_map(|(wire, end)| Edit::Switch(wire, end)),
        (end(), of(0..8_u8)).prop_map(|((wire, end), mac)| Edit::Readdress(wire, end, mac)),
    ]
}

/// A lab that has grown out of the given one by a few changes.
pub fn mutate(lab: Lab) -> impl Strategy<Value = Lab> {
    vec(edit(), 1..6).prop_map(move |edits| edits.into_iter().fold(lab.clone(), Lab::edited))
}

/// A lab that comes after the given one: mostly a related one, sometimes quite another.
pub fn successor(lab: Lab) -> impl Strategy<Value = Lab> {
    prop_oneof![4 => mutate(lab).boxed(), 1 => super::lab().boxed()]
}

fn put<T>(parts: &mut BTreeMap<u8, T>, number: u8, part: Option<T>) {
    match part {
        Some(part) => {
            parts.insert(number, part);
        }
        None => {
            parts.remove(&number);
        }
    }
}

impl Lab {
    fn edited(mut self, edit: Edit) -> Self {
        match edit {
            Edit::Space(number, part) => put(&mut self.spaces, number, part),
            Edit::Wire(number, part) => put(&mut self.wires, number, part),
            Edit::Bridge(number, part) => put(&mut self.bridges, number, part),
            Edit::Vrf(number, part) => put(&mut self.vrfs, number, part),
            Edit::Dummy(number, part) => put(&mut self.dummies, number, part),
            Edit::Upper(number, part) => put(&mut self.uppers, number, part),
            Edit::Options(number, options) => {
                if let Some(end) = number.checked_sub(UPPERS + FEW) {
                    self.with_end(end / 2, end % 2, |end| end.port_options = options);
                } else if let Some(bridge) = number.checked_sub(UPPERS) {
                    self.bridges.entry(bridge).and_modify(|bridge| bridge.options = options);
                } else {
                    self.uppers.entry(number).and_modify(|upper| upper.options = options);
                }
            }
            Edit::External(part) => self.external = part,
            Edit::Route(number, part) => put(&mut self.routes, number, part),
            Edit::Rule(number, part) => put(&mut self.rules, number, part),
            Edit::Neighbor(number, part) => put(&mut self.neighbors, number, part),
            Edit::TurnAddresses(wire, end) => self.with_end(wire, end, |end| {
                end.inet.reverse();
                end.inet6.reverse();
            }),
            Edit::Move(wire, end, space) => self.with_end(wire, end, |end| end.space = space),
            Edit::Resize(wire, end, mtu) => self.with_end(wire, end, |end| end.mtu = mtu),
            Edit::Switch(wire, end) => self.with_end(wire, end, |end| end.down = !end.down),
            Edit::Readdress(wire, end, mac) => self.with_end(wire, end, |end| end.mac = mac),
        }
        self
    }

    fn with_end(&mut self, wire: u8, end: u8, change: impl FnOnce(&mut End)) {
        if let Some(wire) = self.wires.get_mut(&wire) {
            change(&mut wire.ends[usize::from(end)]);
        }
    }
}
