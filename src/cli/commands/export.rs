//! `topo export`: prints a lab file of namespaces that topo did not make.

use std::collections::BTreeSet;

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use super::show;
use crate::adoption::Adoption;
use crate::apply::{self, Foreign, Goal};
use crate::cli::environment::Access;
use crate::cli::error::Failure;
use crate::cli::{Context, Format, Run};
use crate::diff::Change;
use crate::kernel::linux::privilege::{self, Capability};
use crate::kernel::linux::{Linux, Unsaid, leave_under_name, namespace_names};
use crate::lower;
use crate::name::{LabName, LinkId, NamePattern, NamespaceName, SandboxName, escape};
use crate::projection::{Described, Omitted};
use crate::report::json::FORMAT_VERSION;
use crate::report::yaml;
use crate::resource::OWNER;
use crate::resource::link::{Link, Marked};
use crate::runtime::{records, tables};
use crate::spec::LabFile;
use crate::state::{Live, ResourceId, State};

/// Print namespaces that topo did not make as a lab file
#[derive(Debug, Args)]
#[command(after_help = "\
Reads network namespaces that have a name (`ip netns`), whoever made them, and
prints the lab file that would make them: links, addresses, routes, rules,
neighbours and settings. Of `host`, the file has the links that the namespaces
are connected to: other ends of pairs, bridges and parents. What no lab file
can say is a comment, and a warning.

`topo apply --adopt all FILE` makes topo the owner of what is there. What the
file leaves out inside of the namespaces is removed then; the plan shows it.

Examples:
  topo export                        Everything that no lab owns
  topo export r1 r2 'h*'             These namespaces
  topo export host:br0               A bridge of the machine with its ports
  topo export --name ring >ring.yaml")]
pub struct ExportArgs {
    /// Namespaces, or patterns with `*` and `?`, and links of `host`; without any, all namespaces that no lab owns
    #[arg(value_name = "NAMESPACE|host:INTERFACE")]
    chosen: Vec<String>,
    /// Name of the lab
    #[arg(long, value_name = "NAME", default_value = "exported")]
    name: LabName,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// For `topo import`, in a sandbox of its own: gives `host` this name, exports it as a namespace, and lets the namespaces belong to the
    /// lab of the name
    #[arg(long, value_name = "NAME", hide = true)]
    host_as: Option<NamespaceName>,
}

/// A network as a lab, as `topo export --json` prints it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "topo export --json")]
pub struct Report {
    /// Incremented by incompatible changes.
    format_version: u32,
    /// The name of the lab.
    lab: LabName,
    /// The sandbox that the network is in; null on the machine itself.
    sandbox: Option<SandboxName>,
    /// The lab file that would make the network, without the values that the kernel gives by itself.
    file: LabFile,
    /// What is there, and no lab file can say.
    omitted: Vec<Omitted>,
    /// What would become otherwise if the lab took over the network: what is left out, and what only a new object can have.
    changed: Vec<String>,
}

impl Run for ExportArgs {
    fn access(&self) -> Access {
        Access::Read
    }

    fn format(&self) -> Format {
        Format::of_option(self.json)
    }

    fn run(&self, context: &mut Context<'_>) -> Result<u8, Failure> {
        if let Some(name) = &self.host_as {
            leave_under_name(name).map_err(|error| Failure::with_cause("cannot leave the network namespace", error))?;
        }
        privilege::keep(&[Capability::Trace])?;
        let mut kernel = Linux::read_only(self.name.clone())?;
        let (names, links) = self.chosen(context)?;
        let described = self.described(&mut kernel, names, &links, context)?;
        let (file, omitted) = yaml::file(&self.name, &described);
        let changed = self.changed(&file, &mut kernel)?;
        for omitted in &omitted {
            context.output.warning(&omitted.to_string());
        }
        let changed_by_adoption =
            changed.iter().map(|what| format!("taken over by a lab, `{}` would become otherwise", escape(what)));
        let changed_by_adoption: Vec<String> = changed_by_adoption.collect();
        for text in changed_by_adoption.iter().filter(|_| !self.json) {
            context.output.warning(text);
        }
        let text = match self.json {
            true => {
                let (format_version, lab) = (FORMAT_VERSION, self.name.clone());
                let sandbox = context.environment.sandbox().cloned();
                let report = Report { format_version, lab, sandbox, file, omitted, changed };
                serde_json::to_string(&report).map_err(Failure::new)? + "\n"
            }
            false => {
                changed_by_adoption.iter().map(|text| format!("# {text}\n")).collect::<String>()
                    + &yaml::commented(&file, &omitted)
            }
        };
        context.output.print(&text)?;
        Ok(0)
    }
}

impl ExportArgs {
    /// Returns the namespaces and the links of `host` that the user has chosen.
    fn chosen(&self, context: &mut Context<'_>) -> Result<(BTreeSet<NamespaceName>, BTreeSet<LinkId>), Failure> {
        let (names, unusable) = namespace_names().map_err(Failure::new)?;
        if self.chosen.is_empty() {
            for omitted in unusable {
                context.output.warning(&format!("the namespace {omitted}"));
            }
            return Ok((names.into_iter().collect(), BTreeSet::new()));
        }
        let (mut namespaces, mut links) = (BTreeSet::new(), BTreeSet::new());
        for argument in &self.chosen {
            if argument.contains(':') {
                let link: LinkId = argument.parse().map_err(Failure::new)?;
                if !link.namespace.is_host() {
                    let failure = Failure::new(format!("`{link}` cannot be exported alone"));
                    return Err(failure.hint(format!("`topo export {}` exports its namespace", link.namespace)));
                }
                links.insert(link);
                continue;
            }
            let pattern = NamePattern(argument.clone());
            let mut matching = names.iter().filter(|name| pattern.matches(name.as_str())).peekable();
            if matching.peek().is_none() {
                let known = unusable.iter().find(|omitted| omitted.what == *argument);
                return Err(match known {
                    Some(Omitted { what, reason }) => Failure::new(format!("`{}` cannot be exported: {reason}", escape(what))),
                    None => Failure::new(format!("no namespace matches `{}`", escape(argument))).hint("`ip netns` lists them"),
                });
            }
            namespaces.extend(matching.cloned());
        }
        Ok((namespaces, links))
    }

    /// Returns these namespaces as a lab of this name.
    fn described(
        &self,
        kernel: &mut Linux,
        names: BTreeSet<NamespaceName>,
        links: &BTreeSet<LinkId>,
        context: &mut Context<'_>,
    ) -> Result<Described, Failure> {
        let name = &self.name;
        let adoptions: Vec<Adoption> =
            names.iter().map(Adoption::namespace).chain(links.iter().cloned().map(Adoption::Link)).collect();
        // Those that belong to labs are told by being declared.
        let interest = State { namespaces: names, ..State::default() };
        let goal = Goal::destroy(name.clone(), interest).adopting(adoptions);
        let mut goal = self.recorded(goal, kernel)?;
        let Foreign { live, mut omitted } = apply::observe_foreign(kernel, &mut goal)?;
        if self.host_as.is_none() && (!goal.record.is_empty() || owns_any(&live.state)) {
            return Err(Failure::new(format!("there is a lab `{name}` already")).hint("choose another name with `--name`"));
        }
        for (id, what) in live.foreign.iter().filter(|(id, _)| matches!(id, ResourceId::Namespace(_))) {
            if !self.chosen.is_empty() {
                let failure = Failure::new(format!("`{id}` cannot be exported: it is {what}"));
                return Err(failure.hint("`topo show` prints labs"));
            }
            omitted.push(Omitted { what: id.to_string(), reason: format!("it is {what}") });
        }
        if let Some(link) =
            links.iter().find(|link| live.state.link(link).is_none_or(|link| link.external || link.kind.is_loopback()))
        {
            let failure = Failure::new(format!("`{link}` cannot be exported: no lab can own it, or it does not exist"));
            return Err(failure.hint("`topo show` prints labs; links without a kind are no virtual links"));
        }
        let unsaid = kernel.unsaid(&live.state.namespaces)?;
        omitted.extend(unsaid.into_iter().map(|(namespace, unsaid)| omitted_of(&namespace, &unsaid, &live)));
        omitted.extend(filtering_bridges(&live.state));
        let sysctls = kernel.changed_sysctls(&live.state.namespaces)?;
        let live = apply::observe_sysctls(kernel, &mut goal, sysctls)?;
        let mut described = show::described(kernel, &goal, &live, context);
        described.omitted.extend(omitted);
        Ok(described)
    }
}

impl ExportArgs {
    /// Returns the goal with the records of labs, unless these are of a `host` that is none here.
    fn recorded(&self, goal: Goal, kernel: &mut Linux) -> Result<Goal, Failure> {
        match self.host_as {
            Some(_) => Ok(goal),
            None => Ok(goal.with_records(records::read(&self.name)?, records::others(&self.name)?, kernel)?),
        }
    }

    /// Returns what else than the owner would change if the lab took over what is there.
    fn changed(&self, file: &LabFile, kernel: &mut Linux) -> Result<Vec<String>, Failure> {
        let goal = Goal::apply(self.name.clone(), lower::lower(file, &tables::read()).state).adopting([Adoption::All]);
        let goal = self.recorded(goal, kernel)?;
        let (_, plan) = apply::prepare(kernel, &goal)?;
        let is_of_owner = |change: &&Change| {
            let fields = change.fields();
            !fields.is_empty() && fields.iter().all(|field| field.name == OWNER)
        };
        Ok(plan.changes.iter().filter(|change| !is_of_owner(change)).map(|change| change.id.to_string()).collect())
    }
}

/// Returns whether a lab owns any of this.
fn owns_any(state: &State) -> bool {
    state.links.iter().any(|(id, link)| {
        let is_marked = id.namespace.is_host() && !link.external || !id.namespace.is_host() && id.name.is_loopback();
        is_marked && link.marked == Marked::Lab
    })
}

/// Names what no lab file can say.
fn omitted_of(namespace: &NamespaceName, unsaid: &Unsaid, live: &Live) -> Omitted {
    let (what, reason) = match unsaid {
        Unsaid::Qdisc { link, kind } => {
            let named = live.indices.iter().find(|(id, index)| id.namespace == *namespace && *index == link).map(|(id, _)| id);
            (format!("{} qdisc {kind}", named.map_or_else(|| namespace.to_string(), ToString::to_string)), NO_WORD)
        }
        Unsaid::Table(table) => (format!("{namespace} nftables {table}"), NO_WORD),
        Unsaid::Nexthops(count) => {
            (format!("{namespace} {count} nexthop objects"), "routes that use them have next hops of their own")
        }
    };
    Omitted { what, reason: reason.to_owned() }
}

/// Bridges whose ports have VLANs.
fn filtering_bridges(state: &State) -> impl Iterator<Item = Omitted> + '_ {
    let filters = |link: &Link| link.kind.show().iter().any(|(name, value)| *name == "vlan_filtering" && *value == true);
    let bridges = state.links.iter().filter(move |(_, link)| filters(link));
    bridges.map(|(id, _)| Omitted { what: format!("{id} VLANs of its ports"), reason: NO_WORD.to_owned() })
}

const NO_WORD: &str = "a lab file has no word for it";
