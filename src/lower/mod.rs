//! [`LabFile`] into the desired [`State`]: names resolved, globs expanded, what is said in several places put together, and
//! everything refused that the kernel would refuse and that shows from the file alone.
//!
//! What the lab leaves open stays open here: the kernel's defaults are filled in when desired and live are compared.

mod exclusive;
mod ignore;
mod interface;
mod mtu;
mod node;
mod objects;
mod origin;
mod parent;
mod port;
mod port_options;
mod role;
mod segment;
mod settings;
mod sibling;
mod sysctl;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};

pub use node::default_isolation;
pub use origin::origins;

use crate::adoption::Adoptions;
use crate::name::NamespaceName;
use crate::resource::ignore::Ignore;
use crate::resource::object::table::Tables;
use crate::resource::sysctl::{Sysctl, SysctlKey};
use crate::spec::{Diagnostic, LabFile, Loaded};
use crate::state::State;
pub use crate::yaml::Problem;
use crate::yaml::Problems;
use crate::yaml::document::Subtree;

/// What a lab file asks for.
#[derive(Debug, Clone, Default)]
pub struct Lowered {
    /// The desired state; incomplete when there are errors among the problems.
    pub state: State,
    /// What is wrong with it, in no particular order.
    pub problems: Vec<Problem>,
}

/// Works out what a lab asks for. `tables` are the names of routing tables beyond those that every system has.
pub fn lower(lab: &LabFile, tables: &BTreeMap<String, u32>) -> Lowered {
    let mut problems = Problems::default();
    let Parts { table, sysctls, objects, ignore, nodes } = work_out(lab, tables, true, &mut problems);
    let namespaces = table.keys().filter(|name| !name.is_host()).cloned().collect();
    let interfaces = table.into_values().flat_map(|namespace| namespace.interfaces.into_values());
    let links = interfaces.map(|interface| (interface.id, interface.link.into())).collect();
    let sysctls = sysctls.into_iter().collect();
    let (adopt, lost_in) = (Adoptions::default(), BTreeSet::new());
    let state = State { namespaces, sysctls, links, objects: objects.sorted(), adopt, lost_in, ignore, parts: nodes };
    Lowered { state, problems: problems.collected }
}

/// Finds the problems of a lab; half the work of [`lower`].
pub fn check(lab: &LabFile, tables: &BTreeMap<String, u32>) -> Vec<Problem> {
    let mut problems = Problems::default();
    work_out(lab, tables, false, &mut problems);
    problems.collected
}

/// The parts of a state, and where its objects are declared.
struct Parts<'l> {
    table: interface::Table<'l>,
    sysctls: Vec<((NamespaceName, SysctlKey), Sysctl)>,
    objects: Tables<objects::Listed>,
    ignore: Ignore,
    nodes: node::Parts,
}

/// Works out all parts; the objects only if they are `wanted`, else their problems alone.
fn work_out<'l>(lab: &'l LabFile, tables: &BTreeMap<String, u32>, wanted: bool, problems: &mut Problems) -> Parts<'l> {
    let mut table = interface::collect(lab, problems);
    settings::settle(&mut table, problems);
    let upper = parent::resolve(&mut table, problems);
    port::resolve(&mut table, problems);
    port_options::settle(&mut table, problems);
    parent::check(&mut table, &upper, problems);
    let (sysctls, ipv6) = sysctl::lower(&table, problems);
    exclusive::check(&table, &sysctls, problems);
    let ignore = ignore::lower(&table, problems);
    let objects = objects::lower(&table, tables, &ipv6, &ignore, wanted, problems);
    segment::check(&table, &sysctls, problems);
    let nodes = node::lower(&table, &objects, problems);
    Parts { table, sysctls, objects, ignore, nodes }
}

/// All problems of a lab file as diagnostics: those of loading it, and those of [`lower`] or [`check`] with the places that their
/// paths lead to.
///
/// Of a file that could not be read whole, problems that may come from what is missing are left out, and no others.
pub fn diagnostics(problems: &[Problem], loaded: &Loaded<'_>) -> Vec<Diagnostic> {
    let mut all = loaded.diagnostics.clone();
    let Some(document) = &loaded.document else { return all };
    let partial = loaded.has_errors();
    let mut known: HashMap<&Subtree, bool> = HashMap::new();
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
    all.extend(diagnostics);
    all
}
