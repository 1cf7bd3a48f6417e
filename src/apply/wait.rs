//! Waits for what the kernel completes after a plan, by observing with pauses that grow.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::{Goal, PrepareError, plan_for};
use crate::diff::Subject;
use crate::kernel::{ExecuteError, Kernel, ObserveError, Progress};
use crate::name::{LinkId, NamespaceName};
use crate::plan::Plan;
use crate::readiness::{MARGIN, Unready, longest, settles, settling_time, unready};
use crate::resource::address::{Address, ConnectedRoute};
use crate::resource::object::table::{Registered, Verdicts};
use crate::state::{Live, ResourceId};
use crate::value;

const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// The least time that [`until_usable`] waits unless the user gives another.
const USUAL_LIMIT: Duration = Duration::from_secs(30);

/// Pauses that grow, up to a limit of time.
struct Pauses {
    began: Instant,
    paused: Duration,
    next: Duration,
}

impl Pauses {
    fn new() -> Self {
        Self { began: Instant::now(), paused: Duration::ZERO, next: FIRST_PAUSE }
    }

    /// Pauses, unless the limit is reached. Returns whether it paused.
    fn pause(&mut self, kernel: &mut impl Kernel, limit: Duration) -> bool {
        let left = limit.saturating_sub(self.began.elapsed().max(self.paused));
        let pause = self.next.min(left);
        kernel.pause(pause);
        self.paused += pause;
        self.next = (self.next * 2).min(LONGEST_PAUSE);
        !pause.is_zero()
    }
}

/// Why a lab is not usable.
#[derive(Debug, thiserror::Error)]
pub enum WaitError {
    /// The time is over.
    #[error("the lab is not usable after {}", seconds(.after))]
    Timeout {
        /// The time.
        after: Duration,
        /// What is not ready.
        unready: BTreeSet<Unready>,
    },
    /// Waiting does not help.
    #[error("the lab is not usable")]
    Failed {
        /// What is not ready.
        unready: BTreeSet<Unready>,
    },
    /// The user interrupted.
    #[error("interrupted while the lab was not usable yet")]
    Interrupted,
    /// The network cannot be read.
    #[error(transparent)]
    Observe(#[from] ObserveError),
}

fn seconds(time: &Duration) -> value::Duration {
    value::Duration(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
}

fn duration(time: value::Duration) -> Duration {
    Duration::from_micros(time.0)
}

/// Waits until the lab is usable: its links have carrier, as far as the lab file decides that, its bridges forward, and duplicate address
/// detection is finished, and its processes are ready. Changes nothing. Without a limit, waits 30 seconds, or as long as the spanning trees of the lab take.
///
/// # Errors
/// Fails if the lab is not usable in time, an address failed duplicate address detection, or the network cannot be read.
pub fn until_usable(
    kernel: &mut impl Kernel,
    goal: &Goal,
    limit: Option<Duration>,
    progress: &dyn Progress,
) -> Result<(), WaitError> {
    let limit = limit.unwrap_or_else(|| USUAL_LIMIT.max(duration(longest(&goal.desired))));
    let with_links = goal.desired.links.keys().map(|id| &id.namespace);
    let with_parts = goal.desired.parts.keys().map(|(namespace, _)| namespace);
    let all: BTreeSet<NamespaceName> = with_links.chain(with_parts).cloned().collect();
    let mut namespaces = all.clone();
    let mut pauses = Pauses::new();
    loop {
        let live = goal.own(kernel.observe_again(&goal.interest, &namespaces)?);
        let unready = unready(&goal.desired, &live);
        if unready.is_empty() && namespaces == all {
            return Ok(());
        }
        if unready.iter().any(Unready::is_final) {
            return Err(WaitError::Failed { unready });
        }
        if progress.stop() {
            return Err(WaitError::Interrupted);
        }
        if unready.is_empty() {
            // Those that were ready first may have lost that meanwhile.
            namespaces.clone_from(&all);
            continue;
        }
        if !pauses.pause(kernel, limit) {
            return Err(WaitError::Timeout { after: limit, unready });
        }
        namespaces = unready.into_iter().map(|unready| unready.namespace().clone()).collect();
    }
}

/// Why a verification ended early.
pub(super) enum VerifyError {
    Execute(ExecuteError),
    Prepare(PrepareError),
}

impl From<PrepareError> for VerifyError {
    fn from(error: PrepareError) -> Self {
        Self::Prepare(error)
    }
}

/// Observes every namespace that the plan can have changed, and plans what is left to do. The first observation may have begun before
/// the plan was complete, so a difference must also appear in a second one. Waits for the routes to the peers of IPv6 addresses, which
/// the kernel adds after duplicate address detection, as long as that takes by the lab file.
pub(super) fn verify(
    kernel: &mut impl Kernel,
    goal: &Goal,
    before: &Live,
    done: &Plan,
    progress: &dyn Progress,
) -> Result<Plan, VerifyError> {
    let touched = done.touched(before);
    let mut again = false;
    let mut pauses = Pauses::new();
    loop {
        let looked = kernel.observe_again(&goal.interest, &touched).map(|live| goal.own(live)).map_err(PrepareError::from);
        let planned = looked.and_then(|live| Ok((plan_for(kernel, goal, &live)?, live)));
        let planned = planned.map(|(rest, live)| (time_of_routes(goal, &rest, &live, &touched), rest));
        match planned {
            Ok((Some(limit), rest)) => {
                if progress.stop() {
                    return Err(VerifyError::Execute(ExecuteError::Interrupted));
                }
                if !pauses.pause(kernel, limit) {
                    return Ok(rest);
                }
            }
            Ok((None, rest)) if again || rest.is_empty() => return Ok(rest),
            Err(error) if again => return Err(error.into()),
            Ok(_) | Err(_) => again = true,
        }
    }
}

/// Returns how long the kernel takes to add the routes of IPv6 addresses. `None` if none of them is to come, or something
/// else is left to do.
fn time_of_routes(goal: &Goal, rest: &Plan, live: &Live, touched: &BTreeSet<NamespaceName>) -> Option<Duration> {
    let missing: Option<Vec<_>> = rest.changes.iter().map(|change| without_routes(&change.id, &change.subject)).collect();
    let coming = if live.tentative.is_empty() { Vec::new() } else { coming(goal, live, touched) };
    let time = |(link, address): (LinkId, &Address)| duration(settling_time(&goal.desired, &link, address).total());
    missing?.into_iter().chain(coming).map(time).max().map(|time| time + duration(MARGIN))
}

/// Returns the IPv6 address if the change adds its missing routes, and nothing else.
fn without_routes<'a>(id: &ResourceId, subject: &'a Subject) -> Option<(LinkId, &'a Address)> {
    let (namespace, key) = id.as_object::<Address>()?;
    let Subject::Object(object) = subject else { return None };
    let (_, verdict) = Address::of_any::<Verdicts>(object)?;
    let (before, after) = verdict.before.as_ref().zip(verdict.after.as_ref())?;
    let only_routes = key.ip().is_ipv6() && after.lacks_only_routes(before, key);
    only_routes.then(|| (LinkId::new(namespace, key.link), after))
}

/// Returns whether the routes of an IPv6 address are missing. The kernel adds them a moment after it has finished duplicate address
/// detection, so that a second look may find them.
pub(super) fn lacks_routes(plan: &Plan) -> bool {
    plan.changes.iter().any(|change| without_routes(&change.id, &change.subject).is_some())
}

/// Lets the kernel add the routes of addresses whose duplicate address detection has just finished.
pub(super) fn let_routes_arrive(kernel: &mut impl Kernel) {
    kernel.pause(LONGEST_PAUSE);
}

/// Returns the declared addresses of these namespaces whose route to the peer the kernel adds after duplicate address detection.
fn coming<'a>(goal: &'a Goal, live: &Live, namespaces: &BTreeSet<NamespaceName>) -> Vec<(LinkId, &'a Address)> {
    let addresses = live
        .state
        .objects::<Address>()
        .iter()
        .filter(|((namespace, _), live)| live.connected == ConnectedRoute::Coming && namespaces.contains(namespace));
    let declared = addresses.filter_map(|(id, _)| Some((id, goal.desired.objects::<Address>().get(id)?)));
    let of_link = declared.map(|((namespace, key), address)| (LinkId::new(namespace, key.link), address));
    of_link.filter(|(link, _)| settles(&goal.desired, live, link)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::apply::{OnFailure, apply, prepare};
    use crate::kernel::Unattended;
    use crate::kernel::memory::Memory;
    use crate::report::text::{self, Colour};

    const LAB: &str =
        "name: lab\nnamespaces:\n  a: { interfaces: { d0: { dummy: {}, addresses: [10.0.0.1/24, \"2001:db8::1/64\"] } } }\n";

    fn applied(memory: &mut Memory, goal: &Goal) -> String {
        let (live, plan) = prepare(memory, goal).unwrap();
        apply(memory, goal, &live, &plan, OnFailure::RollBack, &mut Unattended).unwrap();
        text::plan(&plan, Colour::None)
    }

    fn usable(memory: &mut Memory, goal: &Goal) -> Result<(), String> {
        until_usable(memory, goal, None, &Unattended).map_err(|error| error.to_string())
    }

    #[test]
    fn an_address_that_failed_detection_is_replaced() {
        let lab = crate::spec::load(LAB).lab.unwrap();
        let goal = Goal::apply(lab.name.clone(), crate::lower::lower(&lab, &BTreeMap::new()).state);
        let mut memory = Memory::new(lab.name.clone());
        applied(&mut memory, &goal);
        assert_eq!(usable(&mut memory, &goal), Ok(()));
        memory.network.fail_detection(&"a:d0".parse().unwrap(), "2001:db8::1/64".parse().unwrap()).unwrap();
        assert_eq!(usable(&mut memory, &goal), Err("the lab is not usable".to_owned()));
        let plan = "a\n-/+ address 2001:db8::1/64 on d0\n        dad: failed -> passed  # forces replacement\n\n\
                    Plan: 1 to add, 0 to change, 1 to destroy.\n";
        assert_eq!(applied(&mut memory, &goal), plan);
        assert_eq!(usable(&mut memory, &goal), Ok(()));
    }

    #[test]
    fn pauses_grow_and_end_with_the_limit() {
        let mut memory = Memory::new("lab".parse().unwrap());
        let mut pauses = Pauses::new();
        let limit = Duration::from_secs(1);
        let count = std::iter::from_fn(|| pauses.pause(&mut memory, limit).then_some(())).count();
        assert!((5..20).contains(&count), "{count}");
        assert!(pauses.paused <= limit);
    }
}
