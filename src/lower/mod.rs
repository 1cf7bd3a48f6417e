//! [`LabFile`] into the desired [`State`]: names resolved, globs expanded, what is said in several places put together, and
//! everything refused that the kernel would refuse and that shows from the file alone.
//!
//! What the lab leaves open stays open here: the kernel's defaults are filled in when desired and live are compared.

mod address;
mod interface;
mod nexthop;
mod parent;
mod port;
mod problem;
mod reach;
mod route;
mod settings;
mod sysctl;

use std::collections::BTreeMap;

pub use problem::Problem;
use problem::Problems;

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
    let mut state = State::default();
    let mut table = interface::collect(lab, &mut problems);
    settings::settle(&mut table, &mut problems);
    parent::resolve(&mut table, &mut problems);
    port::resolve(&mut table, &mut problems);
    parent::check(&mut table, &mut problems);
    sysctl::lower(&table, &mut state, &mut problems);
    address::lower(&mut table, &mut state, &mut problems);
    route::lower(&table, tables, &mut state, &mut problems);
    for (name, namespace) in table {
        if namespace.is_owned() {
            state.insert(ResourceId::Namespace(name), Resource::Namespace);
        }
        for interface in namespace.interfaces.into_values() {
            state.insert(ResourceId::Link(interface.id), Resource::Link(Box::new(interface.link)));
        }
    }
    Lowered { state, problems: problems.0 }
}

/// The problems as diagnostics, with the places that their paths lead to.
///
/// Of a file that could not be read whole, problems that may come from what is missing are left out.
pub fn diagnostics(problems: &[Problem], loaded: &Loaded<'_>) -> Vec<Diagnostic> {
    let Some(document) = &loaded.document else { return Vec::new() };
    let partial = loaded.has_errors();
    let credible = problems.iter().filter(|problem| !(partial && problem.about_absence));
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
