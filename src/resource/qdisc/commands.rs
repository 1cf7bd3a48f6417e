//! Root qdiscs in commands: tc-netem(8).

use super::Qdisc;
use super::distribution::Distribution;
use super::netem::{Loss, Netem, Random};
use super::wire::major;
use crate::iproute2::{Command, Line};
use crate::resource::object::{At, Over, Restoration};
use crate::words;

/// `tc qdisc replace` changes one with the same handle, and replaces one with another handle.
pub(super) fn put(at: &At<Qdisc>, over: &Over<Qdisc>) -> Vec<Line> {
    let Qdisc::Netem(netem) = &at.value else { return Vec::new() };
    let is_in_the_way =
        matches!(over, Over::Live(live) if matches!(**live, Qdisc::Other { major: other, .. } if other == major(netem)));
    let removal = is_in_the_way.then(|| remove(at).into());
    let verb = if *over == Over::Nothing { "add" } else { "replace" };
    removal.into_iter().chain([netem_command(at, verb, netem).into()]).collect()
}

pub(super) fn remove(at: &At<Qdisc>) -> Command {
    Command::tc(&at.namespace, words!["qdisc", "delete", "dev", at.key.dev, "root"])
}

pub(super) fn again(again: &Restoration<Qdisc>) -> Line {
    let at = At::foreign(again);
    match &at.value {
        Qdisc::Netem(netem) => netem_command(&at, "add", netem).may_fail().into(),
        Qdisc::Other { what, .. } => Line::Impossible(format!("add the qdisc {what} of {} again", at.key.dev)),
    }
}

fn netem_command(at: &At<Qdisc>, verb: &str, netem: &Netem) -> Command {
    let handle = format!("{:x}:", major(netem));
    let words = words!["qdisc", verb, "dev", at.key.dev, "root", "handle", handle, "netem", "limit", netem.limit];
    let mut command = Command::tc(&at.namespace, words);
    if netem.delay.0 != 0 || netem.jitter.0 != 0 {
        command = command.and(words!["delay", format!("{}us", netem.delay.0)]);
        if netem.jitter.0 != 0 {
            command = command.and(words![format!("{}us", netem.jitter.0), netem.delay_correlation]);
        }
        if netem.distribution != Distribution::Uniform {
            command = command.and(words!["distribution", netem.distribution.word()]);
        }
    }
    command = match netem.loss {
        Loss::Random(loss) => random(command, "loss", loss),
        Loss::Gilbert { p, r, h, k } => command.and(words!["loss", "gemodel", p, r, h.complement(), k]),
    };
    command = command.and_if(netem.ecn, "ecn");
    command = random(command, "duplicate", netem.duplicate);
    command = random(command, "corrupt", netem.corrupt);
    command = random(command, "reorder", netem.reorder);
    if netem.gap != 0 {
        command = command.and(words!["gap", netem.gap]);
    }
    if let Some(seed) = netem.seed {
        command = command.with(crate::iproute2::Phrase::new(words!["seed", seed]).since(6, 7));
    }
    command.and_some("rate", netem.rate)
}

fn random(command: Command, keyword: &str, Random { share, correlation }: Random) -> Command {
    match (share.0, correlation.0) {
        (0, 0) => command,
        (_, 0) => command.and(words![keyword, share]),
        _ => command.and(words![keyword, share, correlation]),
    }
}
