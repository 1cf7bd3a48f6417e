//! What `apply` and `destroy` have in common: plan, show, confirm, execute, verify, and report.

use std::io::{BufRead, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::args::ChangeArgs;
use super::elsewhere::{Elsewhere, Sought};
use super::error::{self, Failure, chain, did_you_mean};
use super::input::Source;
use super::output::Output;
use super::remedy::{self, Remedy};
use super::reporting::Reporting;
use super::session::{Intent, Session};
use super::signals::Signals;
use super::wait;
use super::{Context, Format};
use crate::apply::{Aftermath, ApplyError, Goal, OnFailure, PrepareError};
use crate::diff::{Change, Conflict};
use crate::kernel::ExecuteError;
use crate::kernel::linux::{Linux, ProcessInside, labs};
use crate::name::{LabName, NamePattern, SandboxName, escape};
use crate::plan::{IRREVERSIBLE, Plan};
use crate::report::json::Event;
use crate::report::{brief, json, text};
use crate::runtime::change::{self, ChangeError};
use crate::runtime::records;
use crate::state::{Live, ResourceId, State};
use crate::yaml::suggest;

/// How a change is made.
pub struct Options<'a> {
    /// The command.
    pub intent: Intent,
    /// The user's options.
    pub arguments: &'a ChangeArgs,
    /// The saved plan as JSON; the new plan must be equal to it.
    pub expected: Option<&'a serde_json::Value>,
    /// Whether the user accepts side effects that cannot be undone.
    pub allow_side_effects: bool,
    /// The part of the lab that is changed; all if there are none.
    pub only: &'a [NamePattern],
    /// Whether to kill the processes in namespaces that are deleted.
    pub kill: bool,
    /// The lab file, to show the lines that an error is about.
    pub source: Option<&'a Source>,
    /// Whether to print only warnings and errors.
    pub is_quiet: bool,
    /// Whether to wait until the lab is usable, and the time limit if the user gave one.
    #[allow(clippy::option_option, reason = "the option and its value are both optional")]
    pub wait: Option<Option<Duration>>,
    /// The sandbox in which the command runs.
    pub sandbox: Option<&'a SandboxName>,
    /// The other environments, to find the lab there if it is missing here.
    pub elsewhere: &'a Elsewhere,
}

impl<'a> Options<'a> {
    /// The options of a command with the user's arguments alone.
    pub fn new(intent: Intent, arguments: &'a ChangeArgs, context: &Context<'a>) -> Self {
        let allow_side_effects = arguments.side_effects.allow_side_effects;
        Self {
            intent,
            arguments,
            expected: None,
            allow_side_effects,
            only: &[],
            kill: false,
            source: None,
            is_quiet: arguments.quiet,
            wait: None,
            sandbox: context.environment.sandbox(),
            elsewhere: context.elsewhere,
        }
    }
}

/// Plans, shows the plan, asks for confirmation if the user wants that, executes and verifies. Returns the exit status.
pub fn run(session: Session, goal: Goal, options: &Options<'_>, output: &mut Output) -> Result<u8, Failure> {
    let Session { mut kernel, signals, lock: _lock, record, mut start } = session;
    let others = records::others(&goal.lab)?;
    let goal = goal.with_records(record, others, &mut kernel)?;
    let goal = select(&mut kernel, goal, options.only, output)?;
    let (live, plan) = prepare(&mut kernel, &goal, options.source, output)?;
    if options.expected.is_some_and(|expected| *expected != json::plan(&plan)) {
        return Err(Failure::new("the saved plan is stale: the network has changed since it was made")
            .hint("make a new plan with `topo plan --out`"));
    }
    match options.arguments.format() {
        Format::Events => output.print(&json::line(&Event::plan(&plan, options.sandbox)))?,
        _ if options.is_quiet && !options.arguments.ask => {}
        _ => show(&plan, &goal, options.arguments.form(), options.sandbox, output)?,
    }
    hint_elsewhere(&goal, &live, options.elsewhere, output);
    if plan.is_empty() {
        change::keep(&goal, &live, &plan)?;
        report_done(&plan, start, options, output)?;
        return wait::until_usable(&mut kernel, &goal, &signals, options, output);
    }
    if !options.allow_side_effects {
        refuse_side_effects(&plan)?;
    }
    if options.arguments.ask {
        let asked = Instant::now();
        if !confirm(options.intent, &signals, output)? {
            output.message("Nothing was changed.");
            return Ok(signals.exit_status().unwrap_or(error::STATUS));
        }
        start += asked.elapsed();
    }
    let inside = processes_inside(&kernel, &plan)?;
    if options.kill {
        kill_processes(&kernel, &plan, output)?;
    } else {
        warn_about_processes(&inside, output);
    }
    warn_about_other_mounts(&kernel, &plan, output);
    execute(&mut kernel, &goal, &live, &plan, &signals, options, output)?;
    report_done(&plan, start, options, output)?;
    wait::until_usable(&mut kernel, &goal, &signals, options, output)
}

/// Observes and plans. Shows conflicts with the lines of the lab file that they are about.
pub fn prepare(kernel: &mut Linux, goal: &Goal, source: Option<&Source>, output: &Output) -> Result<(Live, Plan), Failure> {
    crate::apply::prepare(kernel, goal).map_err(|error| {
        let conflicts = match &error {
            PrepareError::Conflicts(conflicts) => conflicts.as_slice(),
            PrepareError::Observe(_) => &[],
        };
        let resources: Vec<_> = conflicts.iter().map(Conflict::resource).collect();
        let errors = conflicts.iter().zip(&resources).map(|(conflict, id)| (conflict.to_string(), id.iter().collect()));
        let errors: Vec<_> = errors.collect();
        let excerpt = source.map(|source| source.excerpt(&errors, output.diagnostic_colour())).unwrap_or_default();
        let hint = Conflict::hints(conflicts);
        Failure { excerpt, hint, ..Failure::from(error) }
    })
}

/// Reduces the goal to the part of the lab that the user chose, and says what that requires.
pub fn select(kernel: &mut Linux, goal: Goal, only: &[NamePattern], output: &mut Output) -> Result<Goal, Failure> {
    let (goal, required) = crate::apply::select(kernel, goal, only).map_err(Failure::new)?;
    if !required.is_empty() {
        let required: Vec<String> = required.iter().map(|what| format!("`{what}`")).collect();
        output.message(&format!("Required by the selection: {}.", required.join(", ")));
    }
    Ok(goal)
}

/// Refuses a plan with side effects that cannot be undone.
fn refuse_side_effects(plan: &Plan) -> Result<(), Failure> {
    let lost: Vec<String> = plan.irreversible().map(|effect| format!("  {}", escape(&effect.to_string()))).collect();
    if lost.is_empty() {
        return Ok(());
    }
    let mut failure = Failure::new(IRREVERSIBLE).hint("`--allow-side-effects` accepts this");
    failure.notes = lost;
    failure.notes.push("Nothing was changed.".to_owned());
    Err(failure)
}

/// How a plan is shown as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Every change.
    Whole,
    /// A summary.
    Brief,
}

/// Prints the plan, and in the first line where it applies.
pub fn show(plan: &Plan, goal: &Goal, form: Form, sandbox: Option<&SandboxName>, output: &mut Output) -> Result<(), Failure> {
    let colour = output.stdout_colour();
    let heading = text::heading(&goal.lab, sandbox, colour);
    output.print(&match form {
        _ if plan.is_empty() && *goal.desired == State::default() => {
            format!("{heading}\nNo changes. Lab `{}` does not exist.\n", goal.lab)
        }
        _ if plan.is_empty() => format!("{heading}\n{}\n", text::NO_CHANGES),
        Form::Whole => format!("{heading}\n\n{}", text::plan(plan, colour)),
        Form::Brief => format!("{heading}\n\n{}", brief::plan(plan, colour)),
    })
}

/// If the lab has no namespaces here, it may be in another environment; and if it is to be destroyed, its name may be misspelt.
pub fn hint_elsewhere(goal: &Goal, live: &Live, elsewhere: &Elsewhere, output: &mut Output) {
    let is_here = !live.state.namespaces.is_empty() || goal.interest.namespaces.is_empty() && live.state != State::default();
    if is_here {
        return;
    }
    let namespaces = goal.interest.namespaces.iter().cloned().collect();
    match elsewhere.hint(&Sought::Lab(goal.lab.clone(), namespaces)) {
        Some(hint) => output.hint(&hint),
        None if *goal.desired == State::default() && live.state == State::default() => suggest_other_lab(&goal.lab, output),
        None => {}
    }
}

/// If no lab has this name, it may be misspelt.
fn suggest_other_lab(lab: &LabName, output: &mut Output) {
    let labs = labs::find().unwrap_or_default();
    let others = labs.keys().filter(|other| *other != lab).map(LabName::as_str);
    if let Some(closest) = suggest::closest(lab.as_str(), others) {
        output.hint(&did_you_mean(closest));
    }
}

/// Asks on standard error and waits for an answer on standard input, or for a signal.
fn confirm(intent: Intent, signals: &Signals, output: &mut Output) -> Result<bool, Failure> {
    output.message(match intent {
        Intent::Apply => "Type `yes` to apply this plan:",
        Intent::Destroy => "Type `yes` to destroy the lab:",
    });
    std::io::stderr().flush().map_err(Failure::new)?;
    let stdin = std::io::stdin();
    loop {
        if signals.exit_status().is_some() {
            return Ok(false);
        }
        match poll(&mut [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)], PollTimeout::from(100_u8)) {
            Ok(0) | Err(Errno::EINTR) => {}
            _ => break,
        }
    }
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer).map_err(Failure::new)?;
    Ok(answer.trim() == "yes")
}

/// The namespaces that the plan deletes.
fn deleted_namespaces(plan: &Plan) -> impl Iterator<Item = &crate::name::NamespaceName> {
    plan.changes.iter().filter(|change| change.action.removes()).filter_map(|change| match &change.id {
        ResourceId::Namespace(namespace) => Some(namespace),
        ResourceId::Sysctl(..) | ResourceId::Link(_) | ResourceId::Object(_) | ResourceId::Part(..) => None,
    })
}

fn process(inhabitant: &ProcessInside) -> String {
    format!("process {} ({})", inhabitant.process, escape(&inhabitant.command))
}

fn kill_processes(kernel: &Linux, plan: &Plan, output: &mut Output) -> Result<(), Failure> {
    let killed = kernel.kill_processes_inside(deleted_namespaces(plan));
    let killed = killed.map_err(|error| Failure::with_cause("cannot kill the processes in the lab's namespaces", error))?;
    for inhabitant in killed {
        output.message(&format!("Killed {} in namespace `{}`.", process(&inhabitant), inhabitant.namespace));
    }
    Ok(())
}

/// Returns the processes in deleted namespaces. Ends the inits among them that no command can reach any more.
fn processes_inside(kernel: &Linux, plan: &Plan) -> Result<Vec<ProcessInside>, Failure> {
    let find = || kernel.processes_inside(deleted_namespaces(plan)).unwrap_or_default();
    let found = find();
    if !found.iter().any(ProcessInside::is_init) {
        return Ok(found);
    }
    let failed = |error| Failure::with_cause("cannot end the inits of nodes whose sockets are gone", error);
    kernel.end_strays(deleted_namespaces(plan)).map_err(failed)?;
    Ok(find())
}

fn warn_about_processes(found: &[ProcessInside], output: &mut Output) {
    for inhabitant in found {
        output.warning(&format!("{} runs in namespace `{}`", process(inhabitant), inhabitant.namespace));
    }
    if !found.is_empty() {
        output.message(
            "  The namespace loses its name and its links to others, but exists until its last process exits.\n  \
             `topo destroy --kill` kills such processes.",
        );
    }
}

fn warn_about_other_mounts(kernel: &Linux, plan: &Plan, output: &mut Output) {
    let found = kernel.other_mounts(deleted_namespaces(plan)).unwrap_or_default();
    for (namespace, path) in &found {
        output.warning(&format!("namespace `{namespace}` is also mounted on `{}`", escape(&path.display().to_string())));
    }
    if !found.is_empty() {
        output.message(
            "  The namespace loses its name and its links to others, but exists as long as it is mounted.\n  \
             `umount PATH` ends that; `rm PATH` then removes the file.",
        );
    }
}

/// Executes the plan; errors are explained to the user.
fn execute(
    kernel: &mut Linux,
    goal: &Goal,
    live: &Live,
    plan: &Plan,
    signals: &Signals,
    options: &Options<'_>,
    output: &mut Output,
) -> Result<(), Failure> {
    let on_failure = if options.arguments.no_rollback { OnFailure::Keep } else { OnFailure::RollBack };
    let mut reporting = Reporting::new(plan, signals, options, output);
    let done = change::execute(kernel, goal, live, plan, on_failure, &mut reporting);
    reporting.end()?;
    let lost = done.map_err(|error| match error {
        ChangeError::Directory(error) => error.into(),
        ChangeError::Record(error) => error.into(),
        ChangeError::Outdated(error) => record_is_outdated(error),
        ChangeError::Apply { source, record } => {
            let mut failure = explain(source, plan, signals, options.source, output);
            failure.notes.extend(record.map(|error| format!("{}.", chain(&*error))));
            failure
        }
    })?;
    for foreign in lost {
        output.warning(&format!("the kernel refuses to put back what is not the lab's: {}", escape(&foreign)));
    }
    Ok(())
}

/// The record still has entries that are no longer needed. They are correct.
fn record_is_outdated(error: records::RecordError) -> Failure {
    let mut failure = Failure::new(error);
    failure.notes.push("The network matches the lab. The next `topo apply` or `topo destroy` cleans up the record.".into());
    failure
}

/// Says that the network matches the lab, and how long that took.
fn report_done(plan: &Plan, start: Instant, options: &Options<'_>, output: &mut Output) -> Result<(), Failure> {
    let summary = plan.summary();
    let milliseconds = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    match options.arguments.format() {
        Format::Events => output.print(&json::line(&Event::done(plan, milliseconds)))?,
        _ if options.is_quiet || plan.is_empty() => {}
        _ => output.message(&format!(
            "Done in {milliseconds} ms: {} added, {} changed, {} destroyed.",
            summary.add, summary.change, summary.destroy
        )),
    }
    Ok(())
}

/// At most this many lines of the lab file are shown for one error.
const EXCERPT_LIMIT: usize = 5;

fn explain(error: ApplyError, plan: &Plan, signals: &Signals, source: Option<&Source>, output: &Output) -> Failure {
    let mut concerned = error.concerns(plan);
    concerned.truncate(EXCERPT_LIMIT);
    let excerpt = source.map(|source| source.excerpt(&[(chain(&error), concerned)], output.diagnostic_colour()));
    let remedy = remedy::find(&error, plan);
    let notes = notes(&error);
    let is_interrupted = matches!(&error, ApplyError::Execute { source: ExecuteError::Interrupted, .. });
    let is_denied = error::kind(&error) == Some(std::io::ErrorKind::PermissionDenied);
    let mut failure = if is_denied { Failure::from(error) } else { Failure::new(error) };
    if let (true, Some(status)) = (is_interrupted, signals.exit_status()) {
        failure.status = status;
    }
    if let Some(Remedy { cause, hint }) = remedy {
        failure.notes = cause.map(|cause| format!("The cause is that {cause}.")).into_iter().collect();
        failure = failure.hint(hint);
    }
    failure.notes.extend(notes);
    Failure { excerpt: excerpt.unwrap_or_default(), ..failure }
}

/// Describes the state in which the network is after an error.
fn notes(error: &ApplyError) -> Vec<String> {
    let mut notes = Vec::new();
    if let ApplyError::Execute { source: ExecuteError::Operation(error), .. } = error
        && !error.details.is_empty()
    {
        notes.push("The last lines of its log:".to_owned());
        notes.extend(error.details.iter().map(|line| format!("    {}", escape(line))));
    }
    if let ApplyError::Unverified { remains, .. } = error {
        notes.extend(remains.changes.iter().map(|change| format!("  {}", describe(change))));
        notes.extend(remains.missing.iter().map(|foreign| format!("  foreign {} is missing", escape(foreign))));
    }
    match error.aftermath() {
        Aftermath::RolledBack => notes.push("All changes were undone; the network is as it was before.".into()),
        Aftermath::Kept => notes
            .push("The changes made so far were kept. Run `topo apply` to continue, or `topo destroy` to remove them.".into()),
        Aftermath::Left { remains, error } => {
            notes.push(match error {
                Some(error) => format!("Undoing the changes failed, too: {}", chain(error.as_ref())),
                None => "Not all changes could be undone.".into(),
            });
            notes.extend(remains.changes.iter().map(|change| format!("  not undone: {}", describe(change))));
            notes.extend(remains.missing.iter().map(|foreign| format!("  not restored: foreign {}", escape(foreign))));
        }
    }
    notes
}

fn describe(change: &Change) -> String {
    let fields: Vec<_> =
        change.fields().iter().map(|field| format!("{} {} instead of {}", field.name, field.before, field.after)).collect();
    match fields.is_empty() {
        true => format!("{} `{}`", change.id.kind(), change.id),
        false => format!("{} `{}`: {}", change.id.kind(), change.id, fields.join(", ")),
    }
}
