//! What is done to a machine in memory in random tests: labs are applied, broken, killed on their way, and compared.

use std::sync::Arc;

use proptest::prop_assert;
use proptest::test_runner::TestCaseError;
use serde_json::json;
use topo::internals::{
    Address, Aftermath, ApplyError, Change, InterfaceAddress, InterfaceSpec, Kernel, LinkId, LinkName, Memory, Neighbor,
    NeighborKey, OnFailure, Over, Port, Rule, RuleKey, State, SysctlKey, raise,
};

use super::lab;

/// What a lab file asks for.
pub fn desired(text: &str) -> State {
    let reading = lab::Reading::of(text, "lab.yaml", false);
    reading.lab.unwrap_or_else(|| panic!("{}\n{text}", reading.shown)).desired
}

/// What others do to a lab.
#[derive(Debug, Clone, Copy)]
pub enum Act {
    Delete,
    Up(bool),
    Resize(u32),
    Rename,
    AddAddress,
    TakeAddresses,
    Disconnect,
    FailDetection,
    DeleteNamespace,
    AddPair,
    AddRule(u8),
    TakeRules,
    AddNeighbor(bool),
    TakeNeighbors,
    Readdress,
    Forward(bool),
    Loopback(bool),
    /// A node's init is killed.
    KillInit,
    /// A file of a node is changed.
    WriteFile,
    /// A process of a node is stopped.
    StopProcess,
    /// A bind of a node is unmounted.
    Unmount,
    /// Other files and directories are put in the place of the sources of binds.
    ReplaceSources,
    /// A port is given an option, by the numbers of its row and of one of the values to try.
    SetPort(u8, u8),
}

/// What a check came to.
pub type Verdict = Result<(), TestCaseError>;

/// A machine with an `eth0` of its own, on which failures are verdicts.
#[derive(Debug, Clone)]
pub struct Machine(lab::Machine);

impl Machine {
    pub fn new() -> Self {
        Self(lab::Machine::with_uplink(&"random".parse().expect("it is a name")))
    }

    pub fn memory(&mut self) -> &mut Memory {
        &mut self.0.memory
    }

    pub fn fingerprint(&self) -> String {
        self.0.fingerprint()
    }

    /// Applies a lab, which must succeed.
    pub fn apply(&mut self, text: &str) -> Verdict {
        let applied = self.try_apply(text, OnFailure::Keep)?;
        applied.map_err(|error| fail(&format!("applying\n{text}"), &error))
    }

    /// Applies a lab; the inner result says what became of it.
    pub fn try_apply(&mut self, text: &str, on_failure: OnFailure) -> Result<Result<(), ApplyError>, TestCaseError> {
        self.0.apply(&desired(text), on_failure).map_err(|error| fail("preparing", &error))
    }

    /// Makes a lab nobody's, exports it, and takes it over again. What is exported is the lab; nothing changes but its owner.
    pub fn change_hands(&mut self, text: &str) -> Verdict {
        let declared = desired(text);
        self.0.disown();
        let before = self.fingerprint();
        let (exported, omitted) = self.0.export(&declared).map_err(|error| fail("exporting", &error))?;
        check_same(&self.fingerprint(), &before, "export")?;
        if !omitted.is_empty() {
            return Ok(());
        }
        let taken = desired(&exported);
        let plan = self.0.plan_adoption(&taken).map_err(|error| fail("preparing an adoption", &error))?;
        let other = plan.changes.iter().filter(|change| !change.fields().iter().any(|field| field.name == "owner"));
        let other: Vec<String> = other.map(|change| change.id.to_string()).collect();
        prop_assert!(other.is_empty(), "adopted with changes of {:?}\n{}\nof\n{}", other, exported, text);
        // An adoption that fails gives back what it has taken.
        for position in 0..plan.operations().len() {
            let mut refused = self.clone();
            refused.memory().fail_at(position, nix::libc::ENOMEM);
            let outcome = refused.0.adopt(&taken, OnFailure::RollBack).map_err(|error| fail("preparing an adoption", &error))?;
            prop_assert!(outcome.is_err_and(|error| error.rolled_back()), "operation {}\n{}", position, exported);
            check_same(&refused.fingerprint(), &before, "an adoption that was refused")?;
        }
        let adopted = self.0.adopt(&taken, OnFailure::Keep).map_err(|error| fail("preparing an adoption", &error))?;
        adopted.map_err(|error| fail(&format!("adopting\n{exported}"), &error))?;
        self.check_unchanged_by(&exported)?;
        self.check_unchanged_by(text)
    }

    /// Changes one namespace of the lab alone, which then needs no further change. What the rest of the lab still has may be in the way, as
    /// a second vxlan of the same number; then all is undone.
    pub fn apply_part(&mut self, text: &str, which: usize) -> Verdict {
        let desired = desired(text);
        let names: Vec<String> = desired.namespaces.iter().map(ToString::to_string).chain(["host".to_owned()]).collect();
        let namespace = &names[which % names.len()];
        let applied = self.0.apply_part(&desired, namespace).map_err(|error| fail("preparing a part", &error))?;
        if let Err(error) = applied {
            prop_assert!(error.rolled_back(), "only {}: {:?}\n{}", namespace, error, text);
            return Ok(());
        }
        let plan = self.0.plan_part(&desired, namespace).map_err(|error| fail("preparing a part", &error))?;
        let left: Vec<String> = plan.operations().iter().map(ToString::to_string).collect();
        prop_assert!(left.is_empty(), "only {} again: {:#?}\n{}", namespace, left, text);
        Ok(())
    }

    /// Destroys the lab by its file.
    pub fn destroy(&mut self, text: &str) -> Verdict {
        let destroyed = self.0.destroy(&desired(text)).map_err(|error| fail("preparing", &error))?;
        destroyed.map_err(|error| fail(&format!("destroying\n{text}"), &error))
    }

    /// Destroys the lab by its name alone.
    pub fn destroy_by_name(&mut self) -> Verdict {
        let destroyed = self.0.destroy(&State::default()).map_err(|error| fail("preparing", &error))?;
        destroyed.map_err(|error| fail("destroying by name", &error))
    }

    /// How many operations it takes to make the network this lab's.
    pub fn operations(&mut self, text: &str) -> Result<usize, TestCaseError> {
        Ok(self.plan(text)?.len())
    }

    /// The live lab as `topo show` prints it, by its file or by its name, and what the text leaves out.
    pub fn show(&mut self, text: &str, by_file: bool) -> Result<(String, Vec<String>), TestCaseError> {
        let desired = desired(text);
        self.0.show(by_file.then_some(&desired), &desired).map_err(|error| fail("showing", &error))
    }

    /// The difference as `topo diff` prints it, and whether the plan has changes.
    pub fn difference(&mut self, text: &str) -> Result<(String, bool), TestCaseError> {
        let difference = self.0.difference(&desired(text), lab::PlanColour::None).map_err(|error| fail("comparing", &error))?;
        Ok((difference.0, !difference.1.is_empty()))
    }

    fn plan(&mut self, text: &str) -> Result<Vec<String>, TestCaseError> {
        let plan = self.0.plan(&desired(text)).map_err(|error| fail("preparing", &error))?;
        Ok(plan.operations().iter().map(ToString::to_string).collect())
    }

    /// Checks that applying the lab again would do nothing.
    pub fn check_unchanged_by(&mut self, text: &str) -> Verdict {
        let plan = self.plan(text)?;
        prop_assert!(plan.is_empty(), "applied again: {:#?}\n{}", plan, text);
        Ok(())
    }

    /// The machine after an apply was killed before the operation at this position.
    pub fn killed_at(&self, position: usize, text: &str) -> Result<Self, TestCaseError> {
        let mut killed = self.clone();
        killed.memory().fail_from(position, nix::libc::EINTR);
        let outcome = killed.try_apply(text, OnFailure::Keep)?;
        prop_assert!(outcome.is_err(), "it is not killed");
        killed.memory().heal();
        Ok(killed)
    }

    /// Does something to one of the lab's own links or namespaces; what the kernel refuses is not done.
    pub fn tamper(&mut self, act: Act, which: usize) {
        let live = self.memory().observe(&State::default()).expect("the network can be read");
        let links: Vec<_> = live.state.links.keys().filter(|id| !id.name.is_loopback()).cloned().collect();
        let spaces: Vec<_> = live.state.namespaces.iter().cloned().collect();
        let network = &mut self.memory().network;
        let outcome = match (links.get(which % links.len().max(1)), spaces.get(which % spaces.len().max(1)), act) {
            (Some(link), _, Act::Delete) => network.delete(link),
            (Some(link), _, Act::Up(up)) => network.set_up(link, up),
            (Some(link), _, Act::Resize(mtu)) => network.set_mtu_of(link, mtu),
            (Some(link), _, Act::Rename) => network.rename(link, "renamed".parse().expect("it is a name")),
            (Some(link), _, Act::SetPort(row, value)) => {
                network.set_port_options(link, port(usize::from(row), usize::from(value)))
            }
            (Some(link), _, Act::AddAddress) => network.add_address_to(link, "192.0.2.1/24".parse().expect("it is an address")),
            (Some(link), _, Act::TakeAddresses) => {
                let addresses = addresses(&live.state, link).map(|(address, _)| address);
                addresses.into_iter().try_for_each(|address| network.delete_address_of(link, address))
            }
            (Some(link), _, Act::Disconnect) => addresses(&live.state, link).try_for_each(|(address, attributes)| {
                network.disconnect(link, address, attributes)?;
                network.delete_local_route(link, address)
            }),
            (Some(link), _, Act::FailDetection) => {
                let addresses = addresses(&live.state, link).filter(|(address, _)| address.ip().is_ipv6());
                addresses.map(|(address, _)| address).try_for_each(|address| network.fail_detection(link, address))
            }
            (_, Some(space), Act::DeleteNamespace) => network.delete_namespace_by_hand(space),
            (_, Some(space), Act::AddPair) => {
                let [one, other] = ["one", "other"].map(|name| LinkId::new(space, name.parse().expect("it is a name")));
                network.add_pair(&one, &other)
            }
            (_, Some(space), Act::AddRule(number)) => {
                let key = RuleKey { priority: 100 + u32::from(number), ..RuleKey::default() };
                network.put_by_hand(space, &key, &Rule { table: Some(100), ..Rule::default() }, Over::Nothing)
            }
            (_, Some(space), Act::TakeRules) => {
                let mut rules = live.state.objects::<Rule>().iter().filter(|((namespace, _), _)| namespace == space);
                rules.try_for_each(|((_, key), rule)| network.remove_by_hand(space, key, rule))
            }
            (Some(link), _, Act::AddNeighbor(proxy)) => {
                let key = NeighborKey { proxy, dev: link.name, to: "203.0.113.200".parse().expect("it is an address") };
                let lladdr = (!proxy).then(|| "02:bb:00:00:00:77".parse().expect("it is a MAC address"));
                network.put_by_hand(&link.namespace, &key, &Neighbor { lladdr, ..Neighbor::default() }, Over::Anything)
            }
            (_, Some(space), Act::TakeNeighbors) => {
                let mut neighbors = live.state.objects::<Neighbor>().iter().filter(|((namespace, _), _)| namespace == space);
                neighbors.try_for_each(|((_, key), neighbor)| network.remove_by_hand(space, key, neighbor))
            }
            (Some(link), _, Act::Readdress) => {
                network.set_mac_of(link, "02:cc:00:00:00:77".parse().expect("it is a MAC address"))
            }
            (_, Some(space), Act::KillInit) => {
                network.kill_init(space);
                Ok(())
            }
            (_, Some(space), Act::Unmount) => {
                network.unmount(space, "/srv");
                Ok(())
            }
            (_, _, Act::ReplaceSources) => {
                network.replace_sources();
                Ok(())
            }
            (_, Some(space), Act::WriteFile) => {
                network.write_file(space, "/etc/motd", "changed");
                Ok(())
            }
            (_, Some(space), Act::StopProcess) => {
                network.stop_process(space, "p");
                Ok(())
            }
            (_, Some(space), Act::Forward(on)) => {
                let key = SysctlKey::of_namespace("net.ipv4.ip_forward").expect("it is a setting");
                network.set_sysctl(space, &key, if on { "1" } else { "0" })
            }
            (_, Some(space), Act::Loopback(up)) => network.set_up(&LinkId::new(space, LinkName::LOOPBACK), up),
            _ => Ok(()),
        };
        // What the kernel refuses is not done.
        let _ = outcome;
    }

    /// All that a lab can see, drawn hardware addresses aside. Settings are looked at that any of the `others` names.
    pub fn view(&mut self, text: &str, others: &[String]) -> String {
        let wanted = desired(text);
        let mut interest = wanted.clone();
        for other in others {
            for (id, setting) in desired(other).sysctls {
                interest.sysctls.entry(id).or_insert(setting);
            }
        }
        let live = self.memory().observe(&interest).expect("the network can be read");
        let mut state = live.state;
        for (id, link) in &mut state.links {
            if wanted.link(id).is_none_or(|link| link.settings.mac.is_none()) {
                Arc::make_mut(link).settings.mac = None;
            }
        }
        state.objects.routes.values_mut().for_each(|route| route.nexthops.sort());
        let orders =
            state.objects.addresses.iter().map(|((namespace, key), address)| format!("{namespace} {key} #{}", address.order));
        let rules = state.objects.rules.iter().map(|((namespace, key), rule)| format!("{namespace} {key} #{}", rule.order));
        let orders = orders.chain(rules);
        let shown = state.show().into_iter().map(|(id, attributes)| format!("{} {id}: {attributes:?}", id.kind()));
        shown.chain(orders).collect::<Vec<_>>().join("\n")
    }
}

/// A port with one option.
fn port(row: usize, value: usize) -> Port {
    let sort = &Port::registered()[0];
    let rows: Vec<_> = sort.samples().into_iter().filter(|(_, values)| !values.is_empty()).collect();
    let (name, values) = &rows[row % rows.len()];
    let section = json!({ sort.name(): { *name: values[value % values.len()] } });
    let section: InterfaceSpec = serde_json::from_value(section).expect("samples are of the option's type");
    section.ports().swap_remove(0)
}

/// The lab file that asks for this state.
pub fn raised(state: &State) -> String {
    let raised = raise(&"random".parse().expect("it is a name"), state);
    assert_eq!(raised.omitted, []);
    serde_json::to_string_pretty(&raised.lab).expect("a lab file is JSON")
}

/// The addresses of a link.
fn addresses<'s>(state: &'s State, link: &'s LinkId) -> impl Iterator<Item = (InterfaceAddress, &'s Address)> {
    let all = state.objects::<Address>().iter();
    let of_link = all.filter(|((namespace, key), _)| *namespace == link.namespace && key.link == link.name);
    of_link.map(|((_, key), address)| (key.address, address))
}

fn fail(doing: &str, error: &(dyn std::error::Error + 'static)) -> TestCaseError {
    let remains = match error.downcast_ref() {
        Some(ApplyError::Unverified { remains, .. }) => remains.changes.iter().map(describe).collect(),
        Some(ApplyError::Execute { .. } | ApplyError::Verify { .. }) | None => Vec::new(),
    };
    TestCaseError::fail(format!("{doing}: {}\n{}", chain(error), remains.join("\n")))
}

/// A change in one line.
pub fn describe(change: &Change) -> String {
    let fields: Vec<_> =
        change.fields().iter().map(|field| format!("{} {} -> {}", field.name, field.before, field.after)).collect();
    format!("{:?} {} {} {}", change.action, change.id.kind(), change.id, fields.join(", "))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// What a rollback left.
pub fn aftermath(error: &ApplyError) -> String {
    let (ApplyError::Execute { aftermath, .. } | ApplyError::Unverified { aftermath, .. }) = error else { return chain(error) };
    let left = match aftermath {
        Aftermath::RolledBack | Aftermath::Kept => String::new(),
        Aftermath::Left { remains, error } => {
            let remains: Vec<_> = remains.changes.iter().map(describe).collect();
            format!("{}\n{}", remains.join("\n"), error.as_ref().map(|error| chain(error.as_ref())).unwrap_or_default())
        }
    };
    format!("{}\n{left}", chain(error))
}

/// Fails with the lines in which two texts differ.
pub fn check_same(left: &str, right: &str, when: &str) -> Verdict {
    if left == right {
        return Ok(());
    }
    let lines = |text: &str, other: &str, sign: &str| -> Vec<String> {
        let differs = |line: &&str| !other.lines().any(|other| other == *line);
        text.lines().filter(differs).map(|line| format!("{sign} {line}")).collect()
    };
    let difference = [lines(left, right, "-"), lines(right, left, "+")].concat().join("\n");
    Err(TestCaseError::fail(format!("{when}\n{difference}")))
}
