//! The neighbours of a drawn lab: on links that are there, and that have IPv6 where they need it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::{NeighborKind, NeighborPart};
use super::{Writer, object};

impl Writer<'_> {
    pub(super) fn neighbors(&mut self) {
        let mut keys = BTreeSet::new();
        for part in self.lab.neighbors.values() {
            let Some((space, members)) = self.neighbor(part) else { continue };
            let key = ["to", "dev", "proxy"].map(|key| members[key].to_string());
            if keys.insert((space, key)) {
                self.neighbors.entry(space).or_default().push(members);
            }
        }
    }

    fn neighbor(&self, part: &NeighborPart) -> Option<(u8, Value)> {
        let interface = &self.interfaces[&self.below(part.dev)?];
        let is_permanent = !matches!(part.kind, NeighborKind::Entry { nud: Some(_), .. } | NeighborKind::Managed);
        if part.ipv6 && interface.narrow || !is_permanent && !interface.carrier {
            return None;
        }
        let to = if part.ipv6 { format!("2001:db8:5::{}", part.host + 1) } else { format!("203.0.113.{}", part.host + 1) };
        let yes = |yes: bool| if yes { json!(true) } else { Value::Null };
        let mut members = vec![("to", json!(to)), ("dev", json!(interface.name))];
        match &part.kind {
            NeighborKind::Entry { nud, mac, router, extern_learn } => members.extend([
                ("lladdr", json!(format!("02:bb:00:00:00:{mac:02x}"))),
                ("nud", json!(nud)),
                ("router", yes(*router)),
                ("extern_learn", yes(*extern_learn)),
            ]),
            NeighborKind::Managed => members.push(("managed", json!(true))),
            NeighborKind::Proxy { router } => {
                members.extend([("proxy", json!(true)), ("router", yes(*router && part.ipv6))]);
            }
        }
        Some((interface.space, object(members)))
    }
}
