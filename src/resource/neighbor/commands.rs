//! Neighbours in commands: ip-neighbour(8).

use super::{Neighbor, Nud};
use crate::iproute2::{Command, Line};
use crate::ownership;
use crate::resource::object::{At, Restoration};
use crate::words;

pub(super) fn put(at: &At<Neighbor>) -> Vec<Line> {
    vec![command(at).and(words!["protocol", ownership::PROTOCOL]).into()]
}

pub(super) fn remove(at: &At<Neighbor>) -> Vec<Line> {
    vec![name(at, "delete").into()]
}

/// The kernel may have learnt an entry meanwhile.
pub(super) fn again(again: &Restoration<Neighbor>) -> Line {
    command(&At::foreign(again)).may_fail().into()
}

fn name(at: &At<Neighbor>, verb: &str) -> Command {
    let key = &at.key;
    let command = Command::ip(&at.namespace, words!["neighbor", verb]).and_if(key.proxy, "proxy");
    command.and(words![key.to, "dev", key.dev])
}

/// The command that adds it, over an entry that the kernel may have learnt.
fn command(at: &At<Neighbor>) -> Command {
    let (key, value) = (&at.key, &at.value);
    let command = name(at, "replace").and_some("lladdr", value.lladdr.as_ref());
    let state = match value.nud {
        Nud::Permanent => "permanent",
        Nud::Noarp => "noarp",
        Nud::Reachable => "reachable",
        Nud::Stale => "stale",
    };
    let command = if key.proxy || value.managed { command } else { command.and(words!["nud", state]) };
    command.and_if(value.router, "router").and_if(value.managed, "managed").and_if(value.extern_learn, "extern_learn")
}
