//! Reads lab files and applies them to a machine in memory, record included, as the command line does.
//!
//! Tests use the library through this file and `machine.rs` alone.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::collections::BTreeMap;

use topo::internals::{
    Adoption, ApplyError, Chosen, Colour, Goal, Kind, LabName, LinkId, Memory, NamePattern, OnFailure, Others, Port,
    PrepareError, Progress, Record, Script, Severity, State, Unattended, Version, apply, describe, described_file, diagnostics,
    difference_text, load, lower, observe, observe_foreign, observe_sysctls, prepare, render, select, sides, yaml_text,
};
pub use topo::internals::{Plan, PlanColour};

/// A valid lab.
#[derive(Debug, Clone)]
pub struct Lab {
    pub name: LabName,
    pub desired: State,
}

impl Lab {
    /// Reads a lab file, in which there must be nothing to complain about.
    #[track_caller]
    pub fn read(file: &str) -> Self {
        let reading = Reading::of(file, "lab.yaml", false);
        assert!(reading.shown.is_empty(), "{}", reading.shown);
        reading.lab.expect("a file without problems is a lab")
    }
}

/// What becomes of a lab file.
#[derive(Debug)]
pub struct Reading {
    /// The lab, unless there are errors.
    pub lab: Option<Lab>,
    /// Whether some of the problems are errors rather than warnings.
    pub has_errors: bool,
    /// All problems, as `topo validate` shows them.
    pub shown: String,
}

impl Reading {
    /// Reads a lab file; problems are shown under its name.
    pub fn of(file: &str, name: &str, coloured: bool) -> Self {
        let loaded = load(file);
        let lowered = loaded.lab.as_ref().map(|lab| (lab.name.clone(), lower(lab, &BTreeMap::new())));
        let diagnostics = diagnostics(lowered.as_ref().map_or(&[], |(_, lowered)| &lowered.problems), &loaded);
        let has_errors = diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
        let shown = render(&diagnostics, name, file, if coloured { Colour::Always } else { Colour::Never });
        let lab = lowered.filter(|_| !has_errors).map(|(name, lowered)| Lab { name, desired: lowered.state });
        Self { lab, has_errors, shown }
    }
}

/// A plan as text, without colour.
pub fn plan_text(plan: &Plan) -> String {
    topo::internals::plan_text(plan, PlanColour::None)
}

/// A plan as commands of iproute2 6.1, and what these do not do.
pub fn plan_script(plan: &Plan) -> (String, Vec<String>) {
    let Script { text, missing } = topo::internals::plan_script(plan, Some(Version(6, 1)));
    (text, missing)
}

/// A plan as JSON.
pub fn plan_json(plan: &Plan) -> serde_json::Value {
    topo::internals::plan_json(plan)
}

/// The names of all options of links and ports.
pub fn options() -> Vec<&'static str> {
    let of_kinds = Kind::registered().into_iter().flat_map(|kind| kind.samples());
    let of_ports = Port::registered().into_iter().flat_map(|port| port.samples());
    of_kinds.chain(of_ports).map(|(name, _)| name).collect()
}

/// The JSON schemas of lab files and of what commands print, by name.
pub fn schemas() -> BTreeMap<String, String> {
    topo::internals::schema_texts().into_iter().collect()
}

/// Stops after a number of operations.
struct Until(usize);

impl Progress for Until {
    fn stop(&self) -> bool {
        self.0 == 0
    }

    fn done(&mut self, _: usize) {
        self.0 = self.0.saturating_sub(1);
    }
}

/// A machine in memory, and what is recorded there about labs. One of them acts.
#[derive(Debug, Clone)]
pub struct Machine {
    pub memory: Memory,
    name: LabName,
    record: Record,
    others: BTreeMap<LabName, Record>,
}

impl Machine {
    /// A machine with nothing but `lo`, for a lab of this name.
    pub fn empty(name: &LabName) -> Self {
        Self { memory: Memory::new(name.clone()), name: name.clone(), record: Record::default(), others: BTreeMap::new() }
    }

    /// A machine with an `eth0` of its own.
    pub fn with_uplink(name: &LabName) -> Self {
        let mut machine = Self::empty(name);
        machine.memory.network.add_device(&"host:eth0".parse().expect("it is a name")).expect("nothing is in the way");
        machine
    }

    /// Lets another lab act.
    pub fn act_for(&mut self, name: &LabName) {
        if *name == self.name {
            return;
        }
        let record = self.others.remove(name).unwrap_or_default();
        let former = std::mem::replace(&mut self.name, name.clone());
        self.others.insert(former, std::mem::replace(&mut self.record, record));
        self.memory = Memory::with_network(name.clone(), self.memory.network.clone());
    }

    /// Whether nothing is recorded about any lab.
    pub fn records_nothing(&self) -> bool {
        self.record.is_empty() && self.others.values().all(Record::is_empty)
    }

    /// Adds what is recorded.
    fn recorded(&mut self, goal: Goal) -> Result<Goal, PrepareError> {
        let others = self.others.iter().map(|(name, record)| (name.clone(), record.clone()));
        Ok(goal.with_records(self.record.clone(), Others::new(others.collect()), &mut self.memory)?)
    }

    /// All that can be seen of its network.
    pub fn fingerprint(&self) -> String {
        self.memory.network.fingerprint()
    }

    /// What has to be done to make the network the one that is desired.
    pub fn plan(&mut self, desired: &State) -> Result<Plan, PrepareError> {
        let goal = self.recorded(Goal::apply(self.name.clone(), desired.clone()))?;
        Ok(prepare(&mut self.memory, &goal)?.1)
    }

    /// The live lab as `topo show` prints it, given the state of its file or only its name, and what the text leaves out. Hardware addresses
    /// count as chosen where `chosen` has them.
    pub fn show(&mut self, declared: Option<&State>, chosen: &State) -> Result<(String, Vec<String>), PrepareError> {
        let goal = match declared {
            Some(declared) => Goal::apply(self.name.clone(), declared.clone()),
            None => Goal::destroy(self.name.clone(), State::default()),
        };
        let mut goal = self.recorded(goal)?;
        let live = observe(&mut self.memory, &mut goal)?;
        let mac = |id: &LinkId| chosen.link(id).is_some_and(|link| link.settings.mac.is_some());
        let described = describe(&live.state, Chosen { declared: &goal.interest, record: &goal.record, mac: &mac });
        let (file, omitted) = described_file(&self.name, &described);
        Ok((yaml_text(&file, &omitted), omitted.iter().map(ToString::to_string).collect()))
    }

    /// Makes everything nobody's, and forgets the lab.
    pub fn disown(&mut self) {
        self.memory.network.disown();
        self.record = Record::default();
    }

    /// What is nobody's as `topo export` prints it, and what the text leaves out. Of the sysctls of namespaces it has those of `declared`.
    pub fn export(&mut self, declared: &State) -> Result<(String, Vec<String>), PrepareError> {
        let interest = State { namespaces: declared.namespaces.clone(), ..State::default() };
        let of_host = declared.links.iter().filter(|(id, link)| id.namespace.is_host() && !link.external);
        let of_host = of_host.map(|(id, _)| Adoption::Link(id.clone()));
        let adopt = declared.namespaces.iter().map(Adoption::namespace).chain(of_host);
        let mut goal = self.recorded(Goal::destroy(self.name.clone(), interest).adopting(adopt))?;
        let omitted = observe_foreign(&mut self.memory, &mut goal)?.omitted;
        let inside = declared.sysctls.iter().filter(|((namespace, _), _)| !namespace.is_host());
        let sysctls = inside.map(|(id, sysctl)| (id.clone(), sysctl.clone())).collect();
        let live = observe_sysctls(&mut self.memory, &mut goal, sysctls)?;
        let mac = |id: &LinkId| declared.link(id).is_some_and(|link| link.settings.mac.is_some());
        let described = describe(&live.state, Chosen { declared: &goal.interest, record: &goal.record, mac: &mac });
        let (file, unsaid) = described_file(&self.name, &described);
        Ok((yaml_text(&file, &[]), omitted.iter().chain(&unsaid).map(ToString::to_string).collect()))
    }

    /// What has to be done for a lab that takes over everything that it declares.
    pub fn plan_adoption(&mut self, desired: &State) -> Result<Plan, PrepareError> {
        let goal = self.recorded(Goal::apply(self.name.clone(), desired.clone()).adopting([Adoption::All]))?;
        Ok(prepare(&mut self.memory, &goal)?.1)
    }

    /// Applies a lab that takes over everything that it declares.
    pub fn adopt(&mut self, desired: &State, on_failure: OnFailure) -> Result<Result<(), ApplyError>, PrepareError> {
        let goal = Goal::apply(self.name.clone(), desired.clone()).adopting([Adoption::All]);
        self.change(goal, on_failure, &mut Unattended)
    }

    /// The difference as `topo diff` prints it, with the plan.
    pub fn difference(&mut self, desired: &State, colour: PlanColour) -> Result<(String, Plan), PrepareError> {
        let goal = self.recorded(Goal::apply(self.name.clone(), desired.clone()))?;
        let (live, plan) = prepare(&mut self.memory, &goal)?;
        let sides = sides(desired, &live, &goal.record, &plan.changes, &plan.side_effects);
        Ok((difference_text(&self.name, &sides, ["live", "lab.yaml"], colour), plan))
    }

    /// What has to be done to remove a lab.
    pub fn plan_destroy(&mut self, lab: &Lab) -> Result<Plan, PrepareError> {
        let goal = self.recorded(Goal::destroy(self.name.clone(), lab.desired.clone()))?;
        Ok(prepare(&mut self.memory, &goal)?.1)
    }

    /// Makes the network the one that is desired; the inner result says what became of it.
    pub fn apply(&mut self, desired: &State, on_failure: OnFailure) -> Result<Result<(), ApplyError>, PrepareError> {
        self.change(Goal::apply(self.name.clone(), desired.clone()), on_failure, &mut Unattended)
    }

    /// The goal for one namespace of a lab, or `host`, with what that requires.
    fn part(&mut self, desired: &State, namespace: &str) -> Result<Goal, PrepareError> {
        let goal = self.recorded(Goal::apply(self.name.clone(), desired.clone()))?;
        let selected = select(&mut self.memory, goal, &[NamePattern::from(namespace)]);
        Ok(selected.unwrap_or_else(|error| panic!("{error}")).0)
    }

    /// What has to be done for one namespace of the lab.
    pub fn plan_part(&mut self, desired: &State, namespace: &str) -> Result<Plan, PrepareError> {
        let goal = self.part(desired, namespace)?;
        Ok(prepare(&mut self.memory, &goal)?.1)
    }

    /// Changes one namespace of the lab alone, with what that requires.
    pub fn apply_part(&mut self, desired: &State, namespace: &str) -> Result<Result<(), ApplyError>, PrepareError> {
        let goal = self.part(desired, namespace)?;
        self.change_to(goal, OnFailure::RollBack, &mut Unattended)
    }

    /// Removes what the lab owns, and puts back what it has changed; of a lab whose file is lost, nothing is declared.
    pub fn destroy(&mut self, declared: &State) -> Result<Result<(), ApplyError>, PrepareError> {
        self.change(Goal::destroy(self.name.clone(), declared.clone()), OnFailure::Keep, &mut Unattended)
    }

    /// Destroys the lab by name, and is killed after this number of operations. Returns whether it was done before.
    pub fn destroy_until(&mut self, operations: usize) -> bool {
        let goal = Goal::destroy(self.name.clone(), State::default());
        self.change(goal, OnFailure::Keep, &mut Until(operations)).is_ok_and(|outcome| outcome.is_ok())
    }

    /// Records, changes, and records again, in the command line's order.
    fn change(
        &mut self,
        goal: Goal,
        on_failure: OnFailure,
        progress: &mut dyn Progress,
    ) -> Result<Result<(), ApplyError>, PrepareError> {
        let goal = self.recorded(goal)?;
        self.change_to(goal, on_failure, progress)
    }

    fn change_to(
        &mut self,
        goal: Goal,
        on_failure: OnFailure,
        progress: &mut dyn Progress,
    ) -> Result<Result<(), ApplyError>, PrepareError> {
        let (before, plan) = prepare(&mut self.memory, &goal)?;
        self.record = goal.record_before(&before, &plan);
        let outcome = apply(&mut self.memory, &goal, &before, &plan, on_failure, progress);
        match &outcome {
            Ok(_) => self.record = goal.record_after(&self.record, &plan),
            Err(error) if error.rolled_back() => self.record = goal.record,
            Err(_) => {}
        }
        Ok(outcome.map(drop))
    }

    /// Applies a lab, which must leave nothing to do, and returns the plan that led there.
    pub fn must_apply(&mut self, lab: &Lab) -> Result<String, String> {
        let shown = plan_text(&self.plan(&lab.desired).map_err(|error| format!("{error:?}"))?);
        let outcome = self.apply(&lab.desired, OnFailure::Keep).map_err(|error| format!("{error:?}"))?;
        outcome.map_err(|error| format!("{shown}\n{error:?}"))?;
        let rest = self.plan(&lab.desired).map_err(|error| format!("{error:?}"))?;
        if rest.is_empty() { Ok(shown) } else { Err(format!("{shown}\nand after that\n{}", plan_text(&rest))) }
    }

    /// Destroys a lab, which must leave nothing to do.
    pub fn must_destroy(&mut self, lab: &Lab) -> Result<(), String> {
        let outcome = self.destroy(&lab.desired).map_err(|error| format!("{error:?}"))?;
        outcome.map_err(|error| format!("{error:?}"))?;
        let goal = Goal::destroy(self.name.clone(), lab.desired.clone());
        let goal = self.recorded(goal).map_err(|error| format!("{error:?}"))?;
        let (_, rest) = prepare(&mut self.memory, &goal).map_err(|error| format!("{error:?}"))?;
        if rest.is_empty() { Ok(()) } else { Err(format!("left after destroy:\n{}", plan_text(&rest))) }
    }
}
