//! Neighbours: their interface, and what the kernel would not take, or would not do anything with.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Neighbor, NeighborKey, NeighborSpec};
use crate::resource::object::site::{Item, Lowered, Position, Site};
use crate::yaml::problem::whole;
use crate::yaml::{Path, Problems};

/// Lowers the neighbours of a namespace.
pub(super) fn lower(items: &[Item<'_, NeighborSpec>], site: &Site<'_>, lowered: &mut Lowered<Neighbor>, problems: &mut Problems) {
    let mut seen: BTreeMap<NeighborKey, Position> = BTreeMap::new();
    for &Item { spec, position } in items {
        let context = Context { site, spec, position };
        let before = problems.count;
        context.check(problems);
        let key = NeighborKey { proxy: spec.proxy, dev: spec.dev, to: spec.to };
        if let Some(first) = seen.insert(key.clone(), position) {
            context.refuse_second(&key, first, problems);
        }
        if problems.count == before {
            lowered.add(position, || (key, neighbor(spec)));
        }
    }
}

fn neighbor(spec: &NeighborSpec) -> Neighbor {
    Neighbor {
        nud: spec.nud.unwrap_or_default(),
        lladdr: spec.lladdr.clone(),
        router: spec.router,
        managed: spec.managed,
        extern_learn: spec.extern_learn,
    }
}

/// A neighbour as written, with what it is checked against.
struct Context<'c> {
    site: &'c Site<'c>,
    spec: &'c NeighborSpec,
    position: Position,
}

impl Context<'_> {
    fn path(&self) -> Path {
        self.site.path::<Neighbor>(self.position)
    }

    fn check(&self, problems: &mut Problems) {
        self.check_address(problems);
        self.check_interface(problems);
        if self.spec.proxy {
            self.refuse_attributes_of_proxy(problems);
        } else {
            self.check_entry(problems);
        }
    }

    fn refuse_second(&self, key: &NeighborKey, first: Position, problems: &mut Problems) {
        let message = format!("duplicate neighbor `{key}` in `{}`", self.site.namespace);
        let first = self.site.path::<Neighbor>(first);
        let problem = problems.error(self.path(), message);
        problem.also(first.clone(), "first defined here").needs(whole(self.path())).needs(whole(first));
        problem.hint("remove one of the two");
    }

    fn check_address(&self, problems: &mut Problems) {
        let to = self.spec.to;
        let what = match to {
            _ if to.is_unspecified() => "the unspecified address",
            _ if to.is_multicast() => "a multicast address",
            IpAddr::V4(to) if to.is_broadcast() => "the broadcast address",
            _ if to.is_loopback() => "a loopback address",
            IpAddr::V4(_) | IpAddr::V6(_) => return,
        };
        problems.error(self.path().then("to"), format!("`{to}` is {what}, which no neighbour has"));
    }

    fn check_interface(&self, problems: &mut Problems) {
        let dev = self.spec.dev;
        let path = || self.path().then("dev");
        let Some(interface) = self.site.interfaces.get(&dev) else {
            self.site.places.unknown_interface(dev, path(), problems);
            return;
        };
        if dev.is_loopback() {
            problems.error(path(), format!("`{}` has no neighbours", interface.id));
        }
        if self.spec.to.is_ipv6() {
            if interface.without_ipv6 {
                let message = format!("`{}` has IPv6 disabled, so that `{}` cannot be its neighbour", interface.id, self.spec.to);
                problems.error(path(), message).hint("remove the setting `disable_ipv6`");
            }
            self.site.refuse_small_mtu(interface, &format!("the neighbour `{}`", self.spec.to), || self.path(), problems);
        }
    }

    fn refuse_attributes_of_proxy(&self, problems: &mut Problems) {
        let spec = self.spec;
        self.refuse("a proxy", "lladdr", spec.lladdr.is_some(), problems);
        self.refuse("a proxy", "nud", spec.nud.is_some(), problems);
        self.refuse("a proxy", "managed", spec.managed, problems);
        self.refuse("a proxy", "extern_learn", spec.extern_learn, problems);
        self.refuse("an IPv4 proxy", "router", spec.router && spec.to.is_ipv4(), problems);
    }

    fn check_entry(&self, problems: &mut Problems) {
        let spec = self.spec;
        if spec.managed {
            self.refuse("a managed neighbour, which the kernel resolves,", "lladdr", spec.lladdr.is_some(), problems);
            self.refuse("a managed neighbour, which the kernel resolves,", "nud", spec.nud.is_some(), problems);
        } else if spec.lladdr.is_none() {
            let problem = problems.error(self.path(), "a neighbour requires `lladdr`");
            problem.needs(whole(self.path()));
            problem.hint("set `lladdr` to its MAC address, `managed` to let the kernel find it, or `proxy` to answer for it");
        }
    }

    fn refuse(&self, what: &str, key: &'static str, given: bool, problems: &mut Problems) {
        if given {
            let problem = problems.error(self.path().then(key), format!("{what} cannot have `{key}`"));
            problem.hint(format!("remove `{key}`"));
        }
    }
}
