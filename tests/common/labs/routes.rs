//! The routes of a drawn lab: those that lead over links and to neighbours that are there.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::{RoutePart, Way};
use super::{Writer, end_name, inet, inet6, object};

impl Writer<'_> {
    pub(super) fn routes(&mut self) {
        let mut keys = BTreeSet::new();
        for route in self.lab.routes.values() {
            let Some((space, members)) = self.route(route) else { continue };
            let metric = route.metric.unwrap_or(0);
            if keys.insert((space, route.to, route.ipv6, metric, route.table)) {
                self.routes.entry(space).or_default().push(members);
            }
        }
    }

    fn route(&self, route: &RoutePart) -> Option<(u8, Value)> {
        let to = match (route.to, route.ipv6) {
            (0, false) => json!("0.0.0.0/0"),
            (0, true) => json!("::/0"),
            (to, false) => json!(format!("198.51.{to}.0/24")),
            (to, true) => json!(format!("2001:db8:{to}::/48")),
        };
        let mut members =
            vec![("to", to), ("metric", json!(route.metric)), ("table", json!(route.table.map(|table| 100 + u32::from(table))))];
        let space = match &route.way {
            Way::Nowhere(space, kind) => {
                members.push(("type", json!(kind)));
                *space
            }
            Way::Via(wire, end) => {
                let (space, via) = self.neighbour(*wire, *end, route.ipv6)?;
                members.push(("via", via));
                // Where both ends of the pair are here, both reach the gateway.
                let both = self.lab.end(*wire, 1 - end).is_some_and(|other| other.space == space);
                // From a table other than that of the VRF, only the interface leads there.
                let named = route.name_interface || both || self.in_vrf(*wire, *end);
                members.push(("dev", if named { json!(end_name(*wire, *end)) } else { Value::Null }));
                members.push(("src", self.source(route, *wire, *end)));
                members.push(("mtu", json!(route.mtu)));
                space
            }
            Way::OnLink(wire, end) => {
                let (space, _) = self.neighbour(*wire, *end, route.ipv6)?;
                members.push(("dev", json!(end_name(*wire, *end))));
                members.push(("src", self.source(route, *wire, *end)));
                space
            }
            Way::Several(wire, end) => {
                let (space, _) = self.neighbour(*wire, *end, route.ipv6)?;
                let ends = self.lab.wires.keys().flat_map(|wire| [(*wire, 0), (*wire, 1)]);
                let ways = ends.filter_map(|(wire, end)| Some((self.neighbour(wire, end, route.ipv6)?, wire, end)));
                let ways: Vec<_> = ways.filter(|((other, _), ..)| *other == space).collect();
                if ways.len() < 2 {
                    return None;
                }
                let hop = |((_, via), wire, end): &((u8, Value), u8, u8)| {
                    object(vec![("via", via.clone()), ("dev", json!(end_name(*wire, *end))), ("weight", json!(wire + 1))])
                };
                members.push(("nexthops", ways.iter().map(hop).collect::<Vec<_>>().into()));
                space
            }
        };
        self.lab.has_space(space).then(|| (space, object(members)))
    }

    /// An address that a neighbour on that end may have, if the end reaches it.
    fn neighbour(&self, wire: u8, end: u8, ipv6: bool) -> Option<(u8, Value)> {
        let it = self.lab.end(wire, end)?;
        let connected = if ipv6 { it.inet6.iter().any(|host| *host < 4) } else { it.inet.iter().any(|host| *host < 4) };
        let via = if ipv6 { format!("fd00:{wire}::fff") } else { format!("10.{wire}.0.250") };
        (connected && !it.down).then(|| (it.space, json!(via)))
    }

    fn source(&self, route: &RoutePart, wire: u8, end: u8) -> Value {
        let Some(it) = self.lab.end(wire, end).filter(|_| route.src && !self.in_vrf(wire, end)) else { return Value::Null };
        // Without a carrier, the kernel never finishes the detection of duplicates, and so never accepts the address.
        let has_carrier = self.lab.end(wire, 1 - end).is_some_and(|other| !other.down);
        if route.ipv6 && !has_carrier {
            return Value::Null;
        }
        let own = if route.ipv6 { inet6(wire, end, &it.inet6) } else { inet(wire, end, &it.inet) };
        own.last().and_then(|address| address.split('/').next()).map_or(Value::Null, |address| json!(address))
    }
}
