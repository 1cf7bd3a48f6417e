//! [`LabFile`] into the desired [`State`]: names resolved, globs expanded, what is said in several places put together, and
//! everything refused that the kernel would refuse and that shows from the file alone.
//!
//! What the lab leaves open stays open here: the kernel's defaults are filled in when desired and live are compared.

mod address;
mod interface;
mod nexthop;
mod origin;
mod parent;
mod port;
mod problem;
mod reach;
mod role;
mod route;
mod settings;
mod sibling;
mod sysctl;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

pub use origin::origins;
pub use problem::Problem;
use problem::Problems;

use crate::spec::document::Part;
use crate::spec::{Diagnostic, LabFile, Loaded, Severity};
use crate::state::{Resource, ResourceId, State};

/// What a lab file asks for.
#[derive(Debug, Clone, Default)]
pub struct Lowered {
    /// The desired state; incomplete when there are errors among the problems.
    pub state: State,
    /// What is wrong with it, in no particular order.
    pub problems: Vec<Problem>,
}

impl Lowered {
    /// Whether anything keeps the lab from being made.
    pub fn has_errors(&self) -> bool {
        self.problems.iter().any(|problem| problem.severity == Severity::Error)
    }
}

/// Works out what a lab asks for. `tables` are the names of routing tables beyond those that every system has.
pub fn lower(lab: &LabFile, tables: &BTreeMap<String, u32>) -> Lowered {
    let mut problems = Problems::default();
    let (mut first, mut last) = (Resources(Some(Vec::new())), Resources(Some(Vec::new())));
    let table = work_out(lab, tables, [&mut first, &mut last], &mut problems);
    let links = table.into_values().flat_map(|namespace| namespace.interfaces.into_values());
    let links = links.map(|interface| (ResourceId::Link(interface.id), Resource::Link(interface.link.into())));
    // The order is that of the state, so that building it is quick.
    let resources = first.into_iter().chain(links).chain(last.into_iter()).collect();
    Lowered { state: State { resources, ..State::default() }, problems: problems.collected }
}

/// What is wrong with a lab; half the work of [`lower`] where that alone is asked for.
pub fn check(lab: &LabFile, tables: &BTreeMap<String, u32>) -> Vec<Problem> {
    let mut problems = Problems::default();
    work_out(lab, tables, [&mut Resources(None), &mut Resources(None)], &mut problems);
    problems.collected
}

/// Puts all interfaces together, and collects what comes before and after them in the order of the state.
fn work_out<'l>(
    lab: &'l LabFile,
    tables: &BTreeMap<String, u32>,
    [first, last]: [&mut Resources; 2],
    problems: &mut Problems,
) -> interface::Table<'l> {
    let mut table = interface::collect(lab, problems);
    settings::settle(&mut table, problems);
    let upper = parent::resolve(&mut table, problems);
    port::resolve(&mut table, problems);
    parent::check(&mut table, &upper, problems);
    for name in table.keys().filter(|name| !name.is_host()) {
        first.add(|| (ResourceId::Namespace(name.clone()), Resource::Namespace));
    }
    let no_ipv6 = sysctl::lower(&table, first, problems);
    address::lower(&mut table, &no_ipv6, last, problems);
    route::lower(&table, tables, &no_ipv6, last, problems);
    table
}

/// Resources on their way into the state, if there is to be one.
struct Resources(Option<Vec<(ResourceId, Resource)>>);

impl Resources {
    fn add(&mut self, make: impl FnOnce() -> (ResourceId, Resource)) {
        if let Some(resources) = &mut self.0 {
            resources.push(make());
        }
    }

    fn into_iter(self) -> impl Iterator<Item = (ResourceId, Resource)> {
        self.0.into_iter().flatten()
    }
}

/// The problems as diagnostics, with the places that their paths lead to.
///
/// Of a file that could not be read whole, problems that may come from what is missing are left out, and no others.
pub fn diagnostics(problems: &[Problem], loaded: &Loaded<'_>) -> Vec<Diagnostic> {
    let Some(document) = &loaded.document else { return Vec::new() };
    let partial = loaded.has_errors();
    let mut known: HashMap<&Part, bool> = HashMap::new();
    let mut is_whole = |part| *known.entry(part).or_insert_with(|| document.is_whole(part));
    let credible = problems.iter().filter(|problem| !partial || problem.needs.iter().all(&mut is_whole));
    let diagnostics = credible.map(|problem| {
        let diagnostic = Diagnostic::new(problem.severity, problem.message.clone()).at(document.find(&problem.path).span);
        let related = problem.related.iter();
        let diagnostic =
            related.fold(diagnostic, |diagnostic, (path, label)| diagnostic.also(document.find(path).span, label.clone()));
        match &problem.hint {
            Some(hint) => diagnostic.hint(hint.clone()),
            None => diagnostic,
        }
    });
    diagnostics.collect()
}
