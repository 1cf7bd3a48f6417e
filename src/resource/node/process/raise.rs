//! From the definition of a process back to the lab file, without what is a default.

use super::spec::{
    CapabilitiesSpec, CommandSpec, LongRestart, NoCapabilities, ReadySpec, ReloadSpec, RestartSpec, StdinSpec, StopSpec,
};
use super::{Condition, Process, ProcessSpec, Ready, Restart, Signal, Stop};

/// The command that runs a text.
pub(super) const SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// Returns the part of the lab file that describes the process: the inverse of [`super::lower()`].
pub fn raise(process: &Process) -> ProcessSpec {
    ProcessSpec {
        command: command(&process.command),
        env: process.env.clone(),
        cwd: Some(process.cwd.clone()).filter(|cwd| *cwd != Process::CWD),
        user: process.user.clone(),
        after: process.after.iter().cloned().collect(),
        ready: process.ready.as_ref().map(ready),
        restart: restart(&process.restart),
        stop: stop(&process.stop),
        reload: Some(process.reload).filter(|signal| *signal != Signal::HUP).map(|signal| ReloadSpec { signal }),
        oneshot: process.oneshot,
        capabilities: process.capabilities.as_ref().map(|kept| match kept.is_empty() {
            true => CapabilitiesSpec::None(NoCapabilities::None),
            false => CapabilitiesSpec::Kept(kept.iter().copied().collect()),
        }),
        stdin: process.stdin.clone().map(|text| StdinSpec(Some(text))),
        reload_on: process.reload_on.iter().cloned().collect(),
        restart_on: process.restart_on.iter().cloned().collect(),
    }
}

fn command(arguments: &[String]) -> CommandSpec {
    match arguments {
        [shell, option, text] if [shell, option] == SHELL => CommandSpec::Shell(text.clone()),
        arguments => CommandSpec::Arguments(arguments.to_vec()),
    }
}

fn ready(ready: &Ready) -> ReadySpec {
    let limits = ReadySpec {
        timeout: Some(ready.timeout).filter(|timeout| *timeout != Ready::TIMEOUT),
        interval: Some(ready.interval).filter(|interval| *interval != Ready::INTERVAL),
        ..ReadySpec::default()
    };
    match ready.when.clone() {
        Condition::Notify => ReadySpec { notify: Some(true), ..limits },
        Condition::Tcp(port) => ReadySpec { tcp: Some(port), ..limits },
        Condition::Udp(port) => ReadySpec { udp: Some(port), ..limits },
        Condition::Unix(path) => ReadySpec { unix: Some(path), ..limits },
        Condition::File(path) => ReadySpec { file: Some(path), ..limits },
        Condition::Log(text) => ReadySpec { log: Some(text), ..limits },
        Condition::Exec(arguments) => ReadySpec { exec: Some(command(&arguments)), ..limits },
    }
}

fn restart(restart: &Restart) -> Option<RestartSpec> {
    let default = Restart { policy: restart.policy, ..Restart::default() };
    if *restart == Restart::default() {
        return None;
    }
    if *restart == default {
        return Some(RestartSpec::Short(restart.policy));
    }
    Some(RestartSpec::Long(LongRestart {
        policy: restart.policy,
        delay: Some(restart.delay).filter(|delay| *delay != default.delay),
        max_delay: Some(restart.max_delay).filter(|delay| *delay != default.max_delay.max(restart.delay)),
        limit: restart.limit,
    }))
}

fn stop(stop: &Stop) -> Option<StopSpec> {
    let default = Stop::default();
    (*stop != default).then(|| StopSpec {
        signal: Some(stop.signal).filter(|signal| *signal != default.signal),
        timeout: Some(stop.timeout).filter(|timeout| *timeout != default.timeout),
    })
}
