//! Rules in commands: ip-rule(8).

use ipnet::IpNet;

use super::{Action, Rule, Selector};
use crate::iproute2::{Command, Line};
use crate::ownership;
use crate::resource::object::{At, Restoration};
use crate::resource::route::table_word;
use crate::words;

pub(super) fn put(at: &At<Rule>) -> Vec<Line> {
    // Without it, the protocol would be none.
    let protocol = if at.namespace.is_host() { ownership::PROTOCOL.to_string() } else { "boot".to_owned() };
    vec![line(at, "add", Some(protocol))]
}

pub(super) fn remove(at: &At<Rule>) -> Vec<Line> {
    vec![line(at, "delete", at.namespace.is_host().then(|| ownership::PROTOCOL.to_string()))]
}

pub(super) fn again(again: &Restoration<Rule>) -> Line {
    let at = At::foreign(again);
    let protocol = again.foreign.maker.protocol();
    command(&at, "add", Some(protocol.to_string())).may_fail().into()
}

fn line(at: &At<Rule>, verb: &str, protocol: Option<String>) -> Line {
    if !at.key.selector.others.is_empty() {
        return Line::Impossible(format!("{verb} rule `{}` of `{}`", at.key, at.namespace));
    }
    command(at, verb, protocol).into()
}

fn command(at: &At<Rule>, verb: &str, protocol: Option<String>) -> Command {
    let (key, rule) = (&at.key, &at.value);
    let command = Command::ip(&at.namespace, words!["rule", verb]).inet6(key.ipv6);
    let command = select(command, &key.selector).and(words!["priority", key.priority]);
    let command = command.and_some("table", rule.table.map(table_word)).and_some("goto", rule.goto);
    let command = match rule.action {
        Action::Table | Action::Goto => command,
        action @ (Action::Nop | Action::Blackhole | Action::Unreachable | Action::Prohibit) => command.and(words![action]),
    };
    let command = command.and_some("suppress_prefixlength", rule.suppress_prefixlength);
    command.and_some("suppress_ifgroup", rule.suppress_ifgroup).and_some("protocol", protocol)
}

fn select(command: Command, selector: &Selector) -> Command {
    let condition = |prefix: Option<IpNet>| prefix.map(|prefix| prefix.to_string());
    let command = command.and_if(selector.not, "not");
    let command = command.and_some("from", condition(selector.from)).and_some("to", condition(selector.to));
    let command = command.and_some("iif", selector.iif).and_some("oif", selector.oif).and_some("fwmark", selector.fwmark);
    let command = command.and_some("tos", selector.tos.map(|tos| format!("{tos:#x}")));
    let command = command.and_some("ipproto", selector.ipproto).and_some("sport", selector.sport);
    let command = command.and_some("dport", selector.dport).and_some(
        "uidrange",
        selector.uidrange.map(|users| {
            // A single user is a range, too.
            format!("{}-{}", users.first, users.last)
        }),
    );
    command.and_some("tun_id", selector.tun_id).and_if(selector.l3mdev, "l3mdev")
}
