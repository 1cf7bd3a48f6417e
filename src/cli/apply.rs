//! `topo apply`: makes the network what the lab says, or carries out a saved plan; and what `destroy` has in common with it.

use std::io::{BufRead, Write};
use std::os::fd::AsFd;
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::error::{Failure, chain};
use super::input::{self, Lab, Source};
use super::output::Output;
use super::saved::{SavedPlan, saved};
use super::signals::{Interruptible, Signals};
use super::turn::{Intent, Turn};
use super::{ApplyArguments, ChangeArguments};
use crate::apply::{Aftermath, ApplyError, Goal, OnFailure, PrepareError, apply, prepare};
use crate::diff::{Change, Conflict};
use crate::kernel::ExecuteError;
use crate::kernel::linux::privilege::{self, Capability};
use crate::kernel::linux::{Inhabitant, Linux, labs};
use crate::name::{LabName, escape};
use crate::operation::Operation;
use crate::plan::Plan;
use crate::report::{json, text};
use crate::runtime::{self, records};
use crate::state::{Live, ResourceId, State};
use crate::yaml::suggest;

pub fn run(arguments: &ApplyArguments, output: &mut Output) -> Result<u8, Failure> {
    let text = input::read(&arguments.lab)?;
    privilege::keep(&[Capability::Trace])?;
    match saved(&text, &input::display(&arguments.lab))? {
        Some(SavedPlan { source, lab, plan, mut adopt, .. }) => {
            let lab = input::lab_from_text(lab, &source, output)?;
            adopt.extend(arguments.adopt.adopt.iter().cloned());
            let goal = Goal::apply(lab.name, lab.desired).adopting(adopt);
            let turn = Turn::take(&goal.lab, &arguments.change)?;
            change(turn, goal, &arguments.change, Manner { expected: Some(&plan), ..Manner::default() }, output)
        }
        None => {
            let guess = Turn::at_a_glance(&text, Intent::Make);
            let Lab { name, desired, source } = input::lab_from_text(text, &input::display(&arguments.lab), output)?;
            let goal = Goal::apply(name, desired).adopting(arguments.adopt.adopt.iter().cloned());
            let turn = Turn::confirmed(guess, &goal.lab, &arguments.change)?;
            change(turn, goal, &arguments.change, Manner { source: Some(&source), ..Manner::default() }, output)
        }
    }
}

/// Most places that are pointed at for one error.
const POINTED_AT: usize = 5;

/// How a change is carried out, beyond what both commands let the user choose.
#[derive(Clone, Copy, Default)]
pub struct Manner<'a> {
    /// The plan as JSON that must come out.
    pub expected: Option<&'a serde_json::Value>,
    /// Whether processes inside of namespaces that go are ended.
    pub kill: bool,
    /// The lab file, to show where what fails is declared.
    pub source: Option<&'a Source>,
}

/// A lab that has nothing here may be one whose name was mistyped.
fn suggest_another(lab: &LabName, output: &mut Output) {
    let labs = labs::find().unwrap_or_default();
    let others = labs.keys().filter(|other| *other != lab).map(LabName::as_str);
    if let Some(closest) = suggest::closest(lab.as_str(), others) {
        output.tell(&format!("hint: did you mean `{closest}`?"));
    }
}

/// Plans, shows, asks if asked to, executes and verifies.
pub fn change(
    turn: Turn,
    goal: Goal,
    arguments: &ChangeArguments,
    manner: Manner<'_>,
    output: &mut Output,
) -> Result<u8, Failure> {
    let Turn { mut kernel, signals, lock: _lock, record, since } = turn;
    let lab = goal.lab.clone();
    let goal = goal.with_record(record);
    let (before, plan) = prepared(&mut kernel, &goal, manner.source, output)?;
    if manner.expected.is_some_and(|expected| *expected != json::plan(&plan)) {
        return Err(Failure::new("the saved plan is stale: the network has changed since it was made")
            .hint("make a new plan with `topo plan --out`"));
    }
    let nothing_left = plan.is_empty() && *goal.desired == State::default();
    output.print(&match nothing_left {
        true => format!("No changes. The lab `{lab}` has nothing here.\n"),
        false => text::plan(&plan, output.stdout_colour()),
    })?;
    if nothing_left {
        suggest_another(&lab, output);
    }
    if plan.is_empty() {
        records::write_if_changed(&lab, &goal.record, &goal.record.before(&goal.desired, &before).settled(&goal.desired))?;
        return Ok(0);
    }
    if arguments.ask && !confirmed(&signals, output)? {
        output.tell("Nothing was changed.");
        return Ok(signals.exit_code().unwrap_or(1));
    }
    attend_to_processes(&kernel, &plan, manner.kill, output)?;
    let on_failure = if arguments.no_rollback { OnFailure::Keep } else { OnFailure::RollBack };
    if !goal.desired.namespaces.is_empty() {
        runtime::note_namespace_directory()?;
    }
    let record = goal.record.before(&goal.desired, &before);
    records::write_if_changed(&lab, &goal.record, &record)?;
    let outcome = apply(&mut kernel, &goal, &before, &plan, on_failure, &mut Interruptible(signals.clone()));
    match outcome {
        Ok(()) => {
            records::write_if_changed(&lab, &record, &record.settled(&goal.desired)).map_err(unsettled)?;
            output.tell(&done(&plan, since));
            // The end of the process closes and frees all of it at once, in less time than piece by piece.
            std::mem::forget((kernel, goal, before, plan));
            Ok(0)
        }
        Err(error) => {
            let rolled_back = error.rolled_back();
            let with_places = manner.source.map(|source| point(&error, &plan, source, output)).unwrap_or_default();
            let hint = remedy(&error, &plan);
            let mut failure = Failure { with_places, ..explain(error, &signals) };
            failure.hint = failure.hint.or(hint);
            if rolled_back && let Err(error) = records::write_if_changed(&lab, &record, &goal.record) {
                failure.notes.push(format!("{}.", chain(&error)));
            }
            Err(failure)
        }
    }
}

/// The record holds more than it need; what it says is still true.
fn unsettled(error: records::RecordError) -> Failure {
    let mut failure = Failure::new(error);
    failure.notes.push("The network is as the lab says; the next `topo apply` or `topo destroy` tidies the record.".into());
    failure
}

fn done(plan: &Plan, start: Instant) -> String {
    let summary = plan.summary();
    let milliseconds = start.elapsed().as_millis();
    format!("Done in {milliseconds} ms: {} added, {} changed, {} destroyed.", summary.add, summary.change, summary.destroy)
}

/// Ends the processes inside of namespaces that go, or warns about them.
fn attend_to_processes(kernel: &Linux, plan: &Plan, kill: bool, output: &mut Output) -> Result<(), Failure> {
    let goes = |change: &&Change| change.action.removes();
    let going = plan.changes.iter().filter(goes).filter_map(|change| match &change.id {
        ResourceId::Namespace(namespace) => Some(namespace),
        ResourceId::Sysctl(..) | ResourceId::Link(_) | ResourceId::Object(_) => None,
    });
    let name = |inhabitant: &Inhabitant| format!("process {} ({})", inhabitant.process, escape(&inhabitant.command));
    if kill {
        let ended = kernel.end_inhabitants(going);
        let ended = ended.map_err(|error| {
            Failure::new(format!("cannot end the processes in the lab's namespaces: {}", crate::kernel::plain(&error)))
        })?;
        for inhabitant in ended {
            output.tell(&format!("Ended {} in namespace `{}`.", name(&inhabitant), inhabitant.namespace));
        }
        return Ok(());
    }
    let found = kernel.inhabitants(going).unwrap_or_default();
    for inhabitant in &found {
        output.tell(&format!("warning: {} is inside namespace `{}`", name(inhabitant), inhabitant.namespace));
    }
    if !found.is_empty() {
        output.tell(
            "  It keeps running, cut off from all other namespaces, and the kernel keeps its namespace, without a name,\n  \
             until it ends. `topo destroy --kill` ends such processes.",
        );
    }
    Ok(())
}

fn confirmed(signals: &Signals, output: &mut Output) -> Result<bool, Failure> {
    output.tell("Carry out this plan? Only `yes` is taken for an answer.");
    std::io::stderr().flush().map_err(Failure::new)?;
    let stdin = std::io::stdin();
    loop {
        if signals.exit_code().is_some() {
            return Ok(false);
        }
        match poll(&mut [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)], PollTimeout::from(100_u8)) {
            Ok(0) | Err(Errno::EINTR) => {}
            _ => break,
        }
    }
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(Failure::new)?;
    Ok(answer.trim() == "yes")
}

/// The error with the places in the lab file that it is about.
fn point(error: &ApplyError, plan: &Plan, source: &Source, output: &Output) -> String {
    let mut concerned = error.concerns(plan);
    concerned.truncate(POINTED_AT);
    source.point(&[(chain(error), concerned)], output.diagnostic_colour())
}

/// What to do about an error, where the kernel's own words do not tell.
fn remedy(error: &ApplyError, plan: &Plan) -> Option<String> {
    let ApplyError::Execute { source: ExecuteError::Operation(error), .. } = error else { return None };
    let operation = &plan.steps.get(error.position)?.operation;
    let missing = matches!(operation, Operation::WriteSysctl { .. }) && error.source.number == Errno::ENOENT as i32;
    missing.then(|| "this kernel has no such setting, or only outside of network namespaces; check its name".to_owned())
}

/// Observes and plans; what is in the way is shown where the lab file, if there is one, declares what it is in the way of.
pub fn prepared(kernel: &mut Linux, goal: &Goal, source: Option<&Source>, output: &Output) -> Result<(Live, Plan), Failure> {
    prepare(kernel, goal).map_err(|error| {
        let conflicts = match &error {
            PrepareError::Conflicts(conflicts) => conflicts.as_slice(),
            PrepareError::Observe(_) => &[],
        };
        let resources: Vec<_> = conflicts.iter().map(Conflict::resource).collect();
        let errors = conflicts.iter().zip(&resources).map(|(conflict, id)| (conflict.to_string(), id.iter().collect()));
        let errors: Vec<_> = errors.collect();
        let with_places = source.map(|source| source.point(&errors, output.diagnostic_colour())).unwrap_or_default();
        Failure { with_places, ..Failure::from(error) }
    })
}

fn explain(error: ApplyError, signals: &Signals) -> Failure {
    let mut notes = Vec::new();
    if let ApplyError::Unverified { remains, .. } = &error {
        notes.extend(remains.iter().map(|change| format!("  {}", describe(change))));
    }
    tell_aftermath(&mut notes, error.aftermath());
    let interrupted = matches!(&error, ApplyError::Execute { source: ExecuteError::Interrupted, .. });
    let mut failure = Failure::from(error);
    failure.notes = notes;
    if let (true, Some(code)) = (interrupted, signals.exit_code()) {
        failure.code = code;
    }
    failure
}

fn tell_aftermath(notes: &mut Vec<String>, aftermath: &Aftermath) {
    match aftermath {
        Aftermath::RolledBack => notes.push("Everything that had been done was undone; the network is as it was before.".into()),
        Aftermath::Kept => notes.push("What had been done was kept; `topo apply` continues, `topo destroy` removes it.".into()),
        Aftermath::Left { remains, error } => {
            notes.push(match error {
                Some(error) => format!("Undoing what had been done failed, too: {}", chain(error.as_ref())),
                None => "Undoing what had been done left something.".into(),
            });
            notes.extend(remains.iter().map(|change| format!("  not as before: {}", describe(change))));
        }
    }
}

fn describe(change: &Change) -> String {
    let fields: Vec<_> =
        change.fields().iter().map(|field| format!("{} {} instead of {}", field.name, field.before, field.after)).collect();
    match fields.is_empty() {
        true => format!("{} `{}`", change.id.kind(), change.id),
        false => format!("{} `{}`: {}", change.id.kind(), change.id, fields.join(", ")),
    }
}
