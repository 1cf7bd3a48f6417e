//! The loop of `topo watch`. A notification only says where to look: what differs is found by the same comparison as that of `topo plan`,
//! and put right by the same plan as that of `topo apply`.

mod event;
mod hook;
mod systemd;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{SignalKind, signal};

use self::event::{Event, Senders};
use self::hook::Hook;
use super::error::{Failure, chain};
use super::input;
use super::output::Output;
use super::signals::{Interruptible, Signals};
use crate::adoption::Adoption;
use crate::apply::{Goal, OnFailure, PrepareError, prepare, prepare_again};
use crate::diff::Change;
use crate::kernel::linux::Linux;
use crate::kernel::linux::monitor::{Monitor, Notices};
use crate::name::NamespaceName;
use crate::plan::{IRREVERSIBLE, Plan};
use crate::resource::node::PartKey;
use crate::runtime::change::{self, ChangeError};
use crate::runtime::lock::{self, LabLock, LockError};
use crate::runtime::records;
use crate::state::Live;
use crate::watch::{Drift, Fights, Schedule, Scope};

/// The time until another look while somebody else changes the lab.
const BUSY: Duration = Duration::from_millis(200);
/// The time until another attempt after an error, at first. It doubles with each one.
const FIRST_DELAY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_secs(60);

/// What the user wants.
pub struct Options<'a> {
    /// The lab file.
    pub path: &'a Path,
    /// Whether to put drift right.
    pub heal: bool,
    /// Whether to print JSON.
    pub json: bool,
    /// The command to run on drift.
    pub exec: Option<&'a str>,
    /// The time between two looks at what causes no notifications.
    pub interval: Duration,
    /// Foreign links that the lab takes over.
    pub adopt: &'a [Adoption],
    /// Whether the user accepts side effects that cannot be undone.
    pub allow_side_effects: bool,
}

/// Watches a lab.
pub struct Watcher<'a> {
    options: Options<'a>,
    kernel: Linux,
    goal: Goal,
    /// The text of the lab file that the goal is made from.
    text: String,
    monitor: Monitor,
    schedule: Schedule,
    drift: Drift,
    fights: Fights,
    /// Whether the file has changed since the network last matched it.
    is_unapplied: bool,
    /// The last error, which is not told again.
    error: Option<String>,
    delay: Duration,
    senders: Senders,
    /// When this began.
    start: Instant,
    hook: Option<Hook>,
    signals: Signals,
    output: &'a mut Output,
}

impl<'a> Watcher<'a> {
    /// Prepares to watch.
    ///
    /// # Errors
    /// If the system refuses a namespace or a socket.
    pub fn new(
        kernel: Linux,
        goal: Goal,
        text: String,
        options: Options<'a>,
        signals: Signals,
        output: &'a mut Output,
    ) -> Result<Self, Failure> {
        let monitor =
            Monitor::open().map_err(|error| Failure::with_cause("cannot receive notifications of the kernel", error))?;
        Ok(Self {
            hook: options.exec.map(|command| Hook::new(command, &goal.lab)),
            options,
            kernel,
            goal,
            text,
            monitor,
            schedule: Schedule::default(),
            drift: Drift::default(),
            fights: Fights::default(),
            is_unapplied: false,
            error: None,
            delay: FIRST_DELAY,
            senders: Senders::new(),
            start: Instant::now(),
            signals,
            output,
        })
    }

    /// Watches until a signal ends it.
    ///
    /// # Errors
    /// If the lab cannot be read at first, or the system fails.
    pub fn run(mut self) -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::new)?;
        runtime.block_on(self.serve())
    }

    async fn serve(&mut self) -> Result<(), Failure> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        let descriptor = self.monitor.descriptor().map_err(Failure::new)?;
        // SAFETY: the descriptor is owned by what is registered, and closed with it.
        let ready = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }?;
        let mut interval = tokio::time::interval(self.options.interval);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // Before the first look, so that nothing is missed between the two.
        self.begin()?;
        systemd::notify("READY=1");
        loop {
            let due = self.schedule.due().into_iter().chain(self.fights.next(self.now())).min();
            let due = due.map(|due| self.start + due);
            tokio::select! {
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
                _ = hang_up.recv() => break,
                guard = ready.readable() => {
                    let notices = self.monitor.receive().map_err(Failure::new)?;
                    guard?.clear_ready();
                    self.note(notices)?;
                }
                _ = interval.tick() => self.look_at_the_silent(),
                () = sleep_until(due) => self.look()?,
            }
        }
        systemd::notify("STOPPING=1");
        Ok(())
    }

    /// Looks for the first time, and tells what is watched.
    fn begin(&mut self) -> Result<(), Failure> {
        self.refresh()?;
        let (_, plan) = super::change::prepare(&mut self.kernel, &self.goal, None, self.output)?;
        self.follow()?;
        let namespaces = self.goal.desired.namespaces.len();
        self.tell(&Event::Watching { namespaces, heals: self.options.heal })?;
        // What happened between the look and the subscription is seen by another one.
        self.schedule.touch(Scope::Everything, self.now());
        self.found(&plan, &Scope::Everything)
    }

    /// Takes notifications.
    fn note(&mut self, notices: Notices) -> Result<(), Failure> {
        if notices.is_empty() {
            return Ok(());
        }
        if notices.lost {
            self.tell(&Event::Lost)?;
        }
        for (namespace, senders) in &notices.namespaces {
            self.senders.entry(namespace.clone()).or_default().extend(senders.iter().cloned());
        }
        let scope =
            if notices.everything { Scope::Everything } else { Scope::Namespaces(notices.namespaces.into_keys().collect()) };
        self.schedule.touch(scope, self.now());
        Ok(())
    }

    /// Asks for a look at what causes no notifications: settings, files, and the lab file.
    fn look_at_the_silent(&mut self) {
        let desired = &self.goal.desired;
        let settings = desired.sysctls.keys().map(|(namespace, _)| namespace);
        let files = desired.parts.keys().filter(|(_, key)| !matches!(key, PartKey::Process(_))).map(|(namespace, _)| namespace);
        let namespaces: BTreeSet<NamespaceName> = settings.chain(files).cloned().collect();
        if input::read(self.options.path).is_ok_and(|text| text != self.text) {
            self.schedule.touch(Scope::Everything, self.now());
        } else if !namespaces.is_empty() {
            self.schedule.touch(Scope::Namespaces(namespaces), self.now());
        }
    }

    /// Looks where something has happened, tells what differs, and puts it right if the user wants that.
    fn look(&mut self) -> Result<(), Failure> {
        let scope = self.schedule.take().unwrap_or_else(|| Scope::Namespaces(BTreeSet::new()));
        if lock::is_held(&self.goal.lab) {
            // What it does is shown if it is not what the file says in the end.
            self.schedule.postpone(scope, self.now(), BUSY);
            return Ok(());
        }
        self.reload()?;
        match self.observe(&scope) {
            Ok((_, plan)) => {
                self.follow()?;
                self.found(&plan, &scope)
            }
            Err(error) => self.failed(chain(&error)),
        }
    }

    fn observe(&mut self, scope: &Scope) -> Result<(Live, Plan), PrepareError> {
        match scope {
            Scope::Everything => prepare(&mut self.kernel, &self.goal),
            Scope::Namespaces(touched) => prepare_again(&mut self.kernel, &self.goal, touched),
        }
    }

    /// Tells what differs, and puts it right if the user wants that.
    fn found(&mut self, plan: &Plan, scope: &Scope) -> Result<(), Failure> {
        let by = std::mem::take(&mut self.senders);
        let news = self.drift.update(&plan.changes);
        if !news.cleared.is_empty() {
            self.tell(&Event::Cleared { changes: &news.cleared })?;
        }
        if !news.appeared.is_empty() {
            let event = Event::Drift { changes: &news.appeared, by: &by };
            self.tell(&event)?;
            if let Some(hook) = &mut self.hook {
                hook.run(&event.to_json(&self.goal.lab));
            }
        }
        if plan.is_empty() {
            (self.is_unapplied, self.error, self.delay) = (false, None, FIRST_DELAY);
            return Ok(());
        }
        if self.options.heal && !self.is_unapplied { self.heal(&by, scope) } else { Ok(()) }
    }

    /// Puts the network right. Looks again where it has just looked: now nobody else changes the lab.
    fn heal(&mut self, by: &Senders, scope: &Scope) -> Result<(), Failure> {
        let lock = match LabLock::acquire(&self.goal.lab, Duration::ZERO, || false) {
            Ok(lock) => lock,
            Err(LockError::Locked { .. }) => {
                self.schedule.postpone(Scope::Everything, self.now(), BUSY);
                return Ok(());
            }
            Err(error) => return self.failed(chain(&error)),
        };
        let began = self.now();
        self.goal.left_alone = self.fights.left_alone(began);
        let healed = self.plan_and_execute(scope);
        self.goal.left_alone.clear();
        drop(lock);
        let plan = match healed {
            Ok(plan) => plan,
            Err(error) => return self.failed(error),
        };
        if plan.is_empty() {
            return Ok(());
        }
        (self.error, self.delay) = (None, FIRST_DELAY);
        self.follow()?;
        self.tell(&Event::Healed { changes: &plan.changes, time: self.now().saturating_sub(began) })?;
        let repaired = plan.changes.iter().map(Change::attribute);
        for ((resource, attribute), time) in self.fights.healed(repaired, self.now()) {
            self.tell(&Event::LeftAlone { resource: &resource, attribute: &attribute, time, by })?;
        }
        self.drift.forget(&plan.changes);
        Ok(())
    }

    /// Plans with the lab's lock, and executes the plan. Returns it; it is empty if all that differs is left alone.
    fn plan_and_execute(&mut self, scope: &Scope) -> Result<Plan, String> {
        let failed = |failure: &Failure| failure.chain().unwrap_or_default();
        let has_changed = self.refresh().map_err(|failure| failed(&failure))?;
        let scope = if has_changed { &Scope::Everything } else { scope };
        let (live, plan) = self.observe(scope).map_err(|error| chain(&error))?;
        let is_left_alone = |change: &Change| self.goal.left_alone.contains(&change.attribute());
        // A link that is missing cannot be left alone by itself: others depend on it.
        if plan.is_empty() || plan.changes.iter().any(is_left_alone) {
            return Ok(Plan { changes: Vec::new(), steps: Vec::new(), ..plan });
        }
        if !self.options.allow_side_effects && plan.irreversible().next().is_some() {
            return Err(format!("{IRREVERSIBLE}; `--allow-side-effects` accepts this"));
        }
        let progress = &mut Interruptible(self.signals.clone());
        match change::execute(&mut self.kernel, &self.goal, &live, &plan, OnFailure::RollBack, progress) {
            Ok(_) | Err(ChangeError::Outdated(_)) => Ok(plan),
            Err(error) => Err(chain(&error)),
        }
    }

    /// Reads the records, which other commands may have changed. Returns whether they have.
    fn refresh(&mut self) -> Result<bool, Failure> {
        let (record, others) = (records::read(&self.goal.lab)?, records::others(&self.goal.lab)?);
        let has_changed = record != self.goal.record || others != self.goal.others;
        if has_changed {
            self.goal = self.goal.clone().with_records(record, others, &mut self.kernel)?;
        }
        Ok(has_changed)
    }

    /// Compares with the lab file as it is now. Nothing is put right before the network matches the new one: the user applies it.
    fn reload(&mut self) -> Result<(), Failure> {
        let Some(text) = input::read(self.options.path).ok().filter(|text| *text != self.text) else { return Ok(()) };
        self.text.clone_from(&text);
        match input::parse(text, &input::display(self.options.path), self.output) {
            Ok(lab) if lab.name == self.goal.lab => {
                self.goal = Goal::apply(lab.name, lab.desired).adopting(self.options.adopt.iter().cloned());
                self.refresh()?;
                self.is_unapplied = true;
                self.schedule.touch(Scope::Everything, self.now());
                self.tell(&Event::Reloaded { heals: self.options.heal })
            }
            Ok(lab) => self.tell(&Event::Failed { error: &format!("the file describes another lab now, `{}`", lab.name) }),
            Err(_) => self.tell(&Event::Failed { error: "the lab file is not valid any more; the last valid one is used" }),
        }
    }

    /// Returns the time since this began.
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn follow(&mut self) -> Result<(), Failure> {
        let host = self.goal.interest.concerns(&NamespaceName::host());
        let followed = self.monitor.follow(&self.kernel, host);
        followed.map_err(|error| Failure::with_cause("cannot follow the namespaces", error))
    }

    /// Tells an error, once, and looks again later.
    fn failed(&mut self, error: String) -> Result<(), Failure> {
        self.schedule.postpone(Scope::Everything, self.now(), self.delay);
        self.delay = (self.delay * 2).min(LONGEST_DELAY);
        if self.error.as_ref() == Some(&error) {
            return Ok(());
        }
        self.tell(&Event::Failed { error: &error })?;
        self.error = Some(error);
        Ok(())
    }

    fn tell(&mut self, event: &Event<'_>) -> Result<(), Failure> {
        if self.options.json {
            return self.output.print(&format!("{}\n", event.to_json(&self.goal.lab)));
        }
        let text = event.to_text(&self.goal.lab, self.output.stdout_colour());
        self.output.print(&text)
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
