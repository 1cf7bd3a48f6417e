//! Processes: defaults, and what contradicts itself or names something that the node does not have.

use std::collections::{BTreeMap, BTreeSet};

use super::raise::SHELL;
use super::spec::{CapabilitiesSpec, CommandSpec, LongRestart, ReadySpec, RestartSpec, StdinSpec};
use super::{Condition, OWN_VARIABLES, Policy, Process, ProcessName, ProcessSpec, Ready, Restart, Signal, Stop};
use crate::name::{NamespaceName, escape};
use crate::value::Duration;
use crate::yaml::problem::{keys, whole};
use crate::yaml::{Path, Problems};

/// The shortest interval between two checks whether a process is ready.
const LEAST_INTERVAL: Duration = Duration::milliseconds(10);

/// What the processes are checked against.
pub struct Site<'s> {
    /// The path of the map of processes in the lab file.
    pub path: Path,
    /// The node.
    pub node: &'s NamespaceName,
    /// The path of the map of files in the lab file.
    pub files_path: Path,
    /// The absolute paths of the node's files, and the targets of its binds.
    pub files: &'s BTreeSet<String>,
}

/// Lowers the processes of a node. Those with a problem are left out.
pub fn lower(
    specs: &BTreeMap<ProcessName, ProcessSpec>,
    site: &Site<'_>,
    problems: &mut Problems,
) -> BTreeMap<ProcessName, Process> {
    let mut lowered = BTreeMap::new();
    for (name, spec) in specs {
        let context = Context { site, specs, name, spec, path: site.path.clone().then(name) };
        let before = problems.count;
        let process = context.process(problems);
        if problems.count == before {
            lowered.insert(name.clone(), process);
        }
    }
    refuse_circles(specs, site, problems);
    lowered
}

/// A process as written, with what it is checked against.
struct Context<'c> {
    site: &'c Site<'c>,
    specs: &'c BTreeMap<ProcessName, ProcessSpec>,
    name: &'c ProcessName,
    spec: &'c ProcessSpec,
    path: Path,
}

impl Context<'_> {
    fn at(&self, key: &str) -> Path {
        self.path.clone().then(key)
    }

    /// Returns the process. If there is a problem, it is incomplete.
    fn process(&self, problems: &mut Problems) -> Process {
        let spec = self.spec;
        self.check_env(problems);
        self.check_after(problems);
        self.check_oneshot(problems);
        self.check_files(problems);
        let stdin = spec.stdin.as_ref().and_then(|StdinSpec(text)| text.clone());
        let ready = spec.ready.as_ref().and_then(|ready| self.ready(ready, problems));
        let process = Process {
            command: arguments(&spec.command, || self.at("command"), problems),
            env: spec.env.clone(),
            cwd: spec.cwd.clone().unwrap_or_else(|| Process::CWD.to_owned()),
            user: spec.user.clone(),
            after: spec.after.iter().cloned().collect(),
            ready,
            restart: self.restart(problems),
            stop: self.stop(problems),
            reload: spec.reload.as_ref().map_or(Signal::HUP, |reload| reload.signal),
            oneshot: spec.oneshot,
            capabilities: spec.capabilities.as_ref().map(|capabilities| match capabilities {
                CapabilitiesSpec::None(_) => BTreeSet::new(),
                CapabilitiesSpec::Kept(kept) => kept.iter().copied().collect(),
            }),
            stdin,
            reload_on: spec.reload_on.iter().cloned().collect(),
            restart_on: spec.restart_on.iter().cloned().collect(),
        };
        check_path(&process.cwd, || self.at("cwd"), problems);
        process
    }

    fn check_env(&self, problems: &mut Problems) {
        for (name, value) in &self.spec.env {
            let path = || self.at("env").then(name);
            if name.is_empty() || name.contains(['=', '\0']) {
                problems.error(path().key(), format!("`{}` is not the name of a variable", escape(name)));
            } else if OWN_VARIABLES.contains(&name.as_str()) {
                let problem = problems.error(path().key(), format!("`{name}` is set by topo"));
                problem.hint(format!("remove `{name}`"));
            }
            check_text(value, path, problems);
        }
    }

    fn check_after(&self, problems: &mut Problems) {
        let mut seen = BTreeSet::new();
        for (index, name) in self.spec.after.iter().enumerate() {
            let path = self.at("after").then(index);
            if name == self.name {
                problems.error(path, format!("`{name}` cannot come after itself"));
            } else if !self.specs.contains_key(name) {
                let known = self.specs.keys().filter(|known| *known != self.name).map(ProcessName::as_str);
                let message = format!("`{}` has no process `{name}`", self.site.node);
                problems.unknown(path, message, name.as_str(), known).needs(keys(self.site.path.clone()));
            } else if !seen.insert(name) {
                problems.error(path, format!("duplicate process `{name}`"));
            }
        }
    }

    fn check_oneshot(&self, problems: &mut Problems) {
        let spec = self.spec;
        if !spec.oneshot {
            return;
        }
        let policy = spec.restart.as_ref().map(policy);
        let refused = [
            ("ready", spec.ready.is_some(), "is ready when it has succeeded"),
            ("restart", policy == Some(Policy::Always), "runs once, and cannot have the restart policy `always`"),
            ("reload", spec.reload.is_some(), "does not reload"),
            ("reload_on", !spec.reload_on.is_empty(), "does not reload"),
        ];
        for (key, _, why) in refused.into_iter().filter(|(_, given, _)| *given) {
            let problem = problems.error(self.at(key), format!("a `oneshot` {why}"));
            let hint = match key {
                "restart" => "use `on-failure` to repeat it until it succeeds".to_owned(),
                "reload_on" => "use `restart_on` to run it again".to_owned(),
                key => format!("remove `{key}` or `oneshot`"),
            };
            problem.also(self.at("oneshot"), "declared here").hint(hint);
        }
    }

    fn check_files(&self, problems: &mut Problems) {
        for (key, paths) in [("reload_on", &self.spec.reload_on), ("restart_on", &self.spec.restart_on)] {
            for (index, file) in paths.iter().enumerate() {
                let path = || self.at(key).then(index);
                if !check_path(file, path, problems) {
                    continue;
                }
                if !self.site.files.contains(file) {
                    let message = format!("`{}` is not one of the `files` or `binds` of `{}`", escape(file), self.site.node);
                    let known = self.site.files.iter().map(String::as_str);
                    problems.unknown(path(), message, file, known).needs(keys(self.site.files_path.clone()));
                } else if paths[..index].contains(file) {
                    problems.error(path(), format!("duplicate file `{}`", escape(file)));
                } else if key == "restart_on" && self.spec.reload_on.contains(file) {
                    let problem = problems.error(path(), format!("`{}` is in `reload_on`, too", escape(file)));
                    problem.hint("a restart reads all files again; remove it from `reload_on`");
                }
            }
        }
    }

    fn ready(&self, spec: &ReadySpec, problems: &mut Problems) -> Option<Ready> {
        let path = || self.at("ready");
        let ready = Ready {
            when: self.condition(spec, problems)?,
            timeout: spec.timeout.unwrap_or(Ready::TIMEOUT),
            interval: spec.interval.unwrap_or(Ready::INTERVAL),
        };
        if ready.timeout == Duration::seconds(0) {
            problems.error(path().then("timeout"), "a timeout of 0 leaves no time to become ready");
        }
        if ready.interval < LEAST_INTERVAL {
            let message = format!("interval {} is too short (at least {LEAST_INTERVAL})", ready.interval);
            problems.error(path().then("interval"), message);
        }
        Some(ready)
    }

    /// Returns the condition, of which there must be one.
    fn condition(&self, spec: &ReadySpec, problems: &mut Problems) -> Option<Condition> {
        let at = |key: &str| self.at("ready").then(key);
        if spec.notify == Some(false) {
            problems.error(at("notify"), "`notify` can only be `true`").hint("remove `notify`");
            return None;
        }
        let exec = spec.exec.as_ref().map(|exec| arguments(exec, || at("exec"), problems));
        let conditions = [
            ("notify", spec.notify.map(|_| Condition::Notify)),
            ("tcp", spec.tcp.map(Condition::Tcp)),
            ("udp", spec.udp.map(Condition::Udp)),
            ("unix", spec.unix.clone().map(Condition::Unix)),
            ("file", spec.file.clone().map(Condition::File)),
            ("log", spec.log.clone().map(Condition::Log)),
            ("exec", exec.map(Condition::Exec)),
        ];
        let mut given = conditions.into_iter().filter_map(|(key, condition)| Some((key, condition?)));
        let Some((first, condition)) = given.next() else {
            let problem = problems.error(self.at("ready"), "no condition is given");
            problem.hint("set one of `notify`, `tcp`, `udp`, `unix`, `file`, `log` and `exec`").needs(whole(self.at("ready")));
            return None;
        };
        for (key, _) in given {
            let problem = problems.error(at(key), "a process is ready under one condition only");
            problem.also(at(first), "another one").hint("use `exec` with a command that checks both");
        }
        self.check_condition(first, &condition, problems);
        Some(condition)
    }

    fn check_condition(&self, key: &str, condition: &Condition, problems: &mut Problems) {
        let path = || self.at("ready").then(key);
        match condition {
            Condition::Unix(name) if name.strip_prefix('@').is_some_and(|name| !name.is_empty()) => {
                check_text(name, path, problems);
            }
            Condition::Unix(file) | Condition::File(file) => {
                check_path(file, path, problems);
            }
            Condition::Log(text) if text.is_empty() || text.contains('\n') => {
                problems.error(path(), "the text must be a part of a line");
            }
            Condition::Notify | Condition::Tcp(_) | Condition::Udp(_) | Condition::Log(_) | Condition::Exec(_) => {}
        }
    }

    fn restart(&self, problems: &mut Problems) -> Restart {
        let long = match &self.spec.restart {
            None => return Restart::default(),
            Some(RestartSpec::Short(policy)) => {
                return Restart { policy: *policy, limit: self.default_limit(*policy), ..Restart::default() };
            }
            Some(RestartSpec::Long(long)) => long,
        };
        let delay = long.delay.unwrap_or(Restart::DELAY);
        let max_delay = long.max_delay.unwrap_or(Restart::MAX_DELAY.max(delay));
        self.check_restart(long, delay, max_delay, problems);
        Restart { policy: long.policy, delay, max_delay, limit: long.limit.or(self.default_limit(long.policy)) }
    }

    /// Returns the limit of restarts of a process without one. That of a oneshot is finite, because `topo apply` waits for its end.
    fn default_limit(&self, policy: Policy) -> Option<u32> {
        (self.spec.oneshot && policy == Policy::OnFailure).then_some(Restart::ONESHOT_LIMIT)
    }

    fn check_restart(&self, long: &LongRestart, delay: Duration, max_delay: Duration, problems: &mut Problems) {
        let at = |key: &str| self.at("restart").then(key);
        let given = [("delay", long.delay.is_some()), ("max_delay", long.max_delay.is_some()), ("limit", long.limit.is_some())];
        for (key, _) in given.into_iter().filter(|(_, given)| *given && long.policy == Policy::No) {
            problems.error(at(key), format!("the policy `no` cannot have `{key}`")).hint(format!("remove `{key}`"));
        }
        if delay < Duration::milliseconds(1) {
            problems.error(at("delay"), format!("delay {delay} is too short (at least 1ms)"));
        } else if max_delay < delay {
            problems.error(at("max_delay"), format!("`max_delay` {max_delay} is shorter than `delay` {delay}"));
        }
        if long.limit == Some(0) {
            problems.error(at("limit"), "limit is out of range (at least 1)").hint("use the policy `no`");
        }
    }

    fn stop(&self, problems: &mut Problems) -> Stop {
        let default = Stop::default();
        let Some(spec) = &self.spec.stop else { return default };
        if let Some(signal) = spec.signal.filter(|signal| !signal.may_end()) {
            let problem = problems.error(self.at("stop").then("signal"), format!("`{signal}` does not end a process"));
            problem.hint("use a signal such as `TERM`, `INT` or `QUIT`");
        }
        let timeout = spec.timeout.unwrap_or(default.timeout);
        if timeout > Stop::LONGEST {
            problems.error(self.at("stop").then("timeout"), format!("timeout {timeout} is too long (at most {})", Stop::LONGEST));
        }
        Stop { signal: spec.signal.unwrap_or(default.signal), timeout }
    }
}

fn policy(spec: &RestartSpec) -> Policy {
    match spec {
        RestartSpec::Short(policy) => *policy,
        RestartSpec::Long(long) => long.policy,
    }
}

/// Returns the arguments of a command, and reports what no system call can take.
fn arguments(command: &CommandSpec, path: impl Fn() -> Path, problems: &mut Problems) -> Vec<String> {
    let (arguments, is_empty) = match command {
        CommandSpec::Shell(text) => {
            (SHELL.map(str::to_owned).into_iter().chain([text.clone()]).collect(), text.trim().is_empty())
        }
        CommandSpec::Arguments(list) => (list.clone(), list.first().is_none_or(String::is_empty)),
    };
    if is_empty {
        problems.error(path(), "the command is empty").needs(whole(path()));
    }
    for argument in &arguments {
        check_text(argument, &path, problems);
    }
    arguments
}

/// Checks that the system can take the text: as an argument, a variable or a path.
fn check_text(text: &str, path: impl Fn() -> Path, problems: &mut Problems) -> bool {
    let valid = !text.contains('\0');
    if !valid {
        problems.error(path(), "the text contains a zero byte");
    }
    valid
}

fn check_path(text: &str, path: impl Fn() -> Path, problems: &mut Problems) -> bool {
    if !text.starts_with('/') {
        problems.error(path(), format!("`{}` is not an absolute path", escape(text)));
        return false;
    }
    check_text(text, path, problems)
}

/// Refuses processes that wait for each other.
fn refuse_circles(specs: &BTreeMap<ProcessName, ProcessSpec>, site: &Site<'_>, problems: &mut Problems) {
    let waits_for = |name: &ProcessName| specs.get(name).into_iter().flat_map(|spec| &spec.after).collect::<BTreeSet<_>>();
    let mut left: BTreeMap<&ProcessName, BTreeSet<&ProcessName>> = specs.keys().map(|name| (name, waits_for(name))).collect();
    loop {
        // Whatever waits for none of those that are left is in no circle.
        let names: BTreeSet<&ProcessName> = left.keys().copied().collect();
        let before = left.len();
        left.retain(|_, after| after.iter().any(|other| names.contains(other)));
        if left.len() < before {
            continue;
        }
        let Some(circle) = circle(&left) else { return };
        report_circle(&circle, specs, site, problems);
        left.retain(|name, _| !circle.contains(name));
    }
}

/// Returns a circle, given that each of the processes waits for one of them. Processes that wait for themselves are reported elsewhere.
fn circle<'s>(left: &BTreeMap<&'s ProcessName, BTreeSet<&'s ProcessName>>) -> Option<Vec<&'s ProcessName>> {
    let mut walk = vec![*left.keys().next()?];
    loop {
        let next = *left[walk[walk.len() - 1]].iter().find(|name| left.contains_key(*name))?;
        if let Some(start) = walk.iter().position(|name| *name == next) {
            return Some(walk.split_off(start));
        }
        walk.push(next);
    }
}

fn report_circle(circle: &[&ProcessName], specs: &BTreeMap<ProcessName, ProcessSpec>, site: &Site<'_>, problems: &mut Problems) {
    let [first, others @ ..] = circle else { return };
    if others.is_empty() {
        return;
    }
    let words: Vec<String> = others.iter().chain([first]).map(|name| format!("after `{name}`")).collect();
    let index = specs[*first].after.iter().position(|name| *name == *others[0]).unwrap_or_default();
    let path = site.path.clone().then(*first).then("after").then(index);
    let problem = problems.error(path, format!("circular order of processes: `{first}` comes {}", words.join(", which comes ")));
    problem.hint("remove one of them from `after`");
}
