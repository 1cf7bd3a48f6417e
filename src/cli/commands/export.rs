//! `topo export`: prints a lab file of namespaces that topo did not make.

use std::collections::BTreeSet;

use clap::Args;

use super::show;
use crate::adoption::Adoption;
use crate::apply::{self, Foreign, Goal};
use crate::cli::environment::Access;
use crate::cli::error::Failure;
use crate::cli::{Context, Format, Run};
use crate::kernel::linux::privilege::{self, Capability};
use crate::kernel::linux::{Linux, namespace_names};
use crate::name::{LabName, NamePattern, NamespaceName, escape};
use crate::projection::{Described, Omitted};
use crate::report::yaml;
use crate::resource::link::Marked;
use crate::runtime::records;
use crate::state::{ResourceId, State};

/// Print namespaces that topo did not make as a lab file
#[derive(Debug, Args)]
#[command(after_help = "\
Reads network namespaces that have a name (`ip netns`), whoever made them, and
prints the lab file that would make them: links, addresses, routes, rules,
neighbours and settings. Of `host`, the file has the links that the namespaces
are connected to: other ends of pairs, bridges and parents. What no lab file
can say is a comment, and a warning.

`topo apply --adopt all FILE` makes topo the owner of what is there, without
changing it.

Examples:
  topo export                        Everything that no lab owns
  topo export r1 r2 'h*'             These namespaces
  topo export --name ring >ring.yaml")]
pub struct ExportArgs {
    /// Namespaces, or patterns with `*` and `?`; without any, all that no lab owns
    #[arg(value_name = "NAMESPACE")]
    namespaces: Vec<NamePattern>,
    /// Name of the lab
    #[arg(long, value_name = "NAME", default_value = "exported")]
    name: LabName,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// For `topo import`: the namespaces may belong to the lab of this name already
    #[arg(long, hide = true)]
    of_lab: bool,
}

impl Run for ExportArgs {
    fn access(&self) -> Access {
        Access::Read
    }

    fn format(&self) -> Format {
        Format::of_option(self.json)
    }

    fn run(&self, context: &mut Context<'_>) -> Result<u8, Failure> {
        privilege::keep(&[Capability::Trace])?;
        let mut kernel = Linux::read_only(self.name.clone())?;
        let names = self.chosen(context)?;
        let described = self.described(&mut kernel, names, context)?;
        let (file, omitted) = yaml::file(&self.name, &described);
        show::print(&self.name, file, omitted, self.json, context)?;
        Ok(0)
    }
}

impl ExportArgs {
    /// Returns the namespaces that the user has chosen.
    fn chosen(&self, context: &mut Context<'_>) -> Result<BTreeSet<NamespaceName>, Failure> {
        let (names, strange) = namespace_names().map_err(Failure::new)?;
        if self.namespaces.is_empty() {
            for name in strange {
                context.output.warning(&format!("the namespace `{name}` is left out: no lab file can have this name"));
            }
            return Ok(names.into_iter().collect());
        }
        let mut chosen = BTreeSet::new();
        for pattern in &self.namespaces {
            let mut matching = names.iter().filter(|name| pattern.matches(name.as_str())).peekable();
            if matching.peek().is_none() {
                let message = format!("no namespace matches `{}`", escape(&pattern.0));
                return Err(Failure::new(message).hint("`ip netns` lists them"));
            }
            chosen.extend(matching.cloned());
        }
        Ok(chosen)
    }

    /// Returns these namespaces as a lab of this name.
    fn described(
        &self,
        kernel: &mut Linux,
        names: BTreeSet<NamespaceName>,
        context: &mut Context<'_>,
    ) -> Result<Described, Failure> {
        let name = &self.name;
        let adoptions: Vec<Adoption> = names.iter().map(Adoption::namespace).collect();
        // Those that belong to labs are told by being declared.
        let interest = State { namespaces: names, ..State::default() };
        let goal = Goal::destroy(name.clone(), interest).adopting(adoptions);
        let mut goal = goal.with_records(records::read(name)?, records::others(name)?, kernel)?;
        let Foreign { live, mut omitted } = apply::observe_foreign(kernel, &mut goal)?;
        if !self.of_lab && (!goal.record.is_empty() || owns_any(&live.state)) {
            return Err(Failure::new(format!("there is a lab `{name}` already")).hint("choose another name with `--name`"));
        }
        for (id, what) in live.foreign.iter().filter(|(id, _)| matches!(id, ResourceId::Namespace(_))) {
            if !self.namespaces.is_empty() {
                let failure = Failure::new(format!("`{id}` cannot be exported: it is {what}"));
                return Err(failure.hint("`topo show` prints labs"));
            }
            omitted.push(Omitted { what: id.to_string(), reason: format!("it is {what}") });
        }
        let sysctls = kernel.changed_sysctls(&live.state.namespaces)?;
        let live = apply::observe_sysctls(kernel, &mut goal, sysctls)?;
        let mut described = show::described(kernel, &goal, &live, context);
        described.omitted.extend(omitted);
        Ok(described)
    }
}

/// Returns whether a lab owns any of this.
fn owns_any(state: &State) -> bool {
    state.links.iter().any(|(id, link)| {
        let is_marked = id.namespace.is_host() && !link.external || !id.namespace.is_host() && id.name.is_loopback();
        is_marked && link.marked == Marked::Lab
    })
}
