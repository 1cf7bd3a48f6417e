//! Routes: compared one by one, and put back where the kernel drops them because a link or an address goes.

use super::addresses::Lost;
use super::{Action, Differ, Fate};
use crate::name::{LinkId, LinkName, NamespaceName};
use crate::resource::route::{Route, RouteKey};
use crate::state::{ResourceId, side_by_side};

impl Differ<'_> {
    pub(super) fn routes(&mut self, lost: &Lost) {
        for ((namespace, key), desired, live) in side_by_side(self.desired.routes(), self.live.state.routes()) {
            let id = || ResourceId::Route(namespace.clone(), key.clone());
            match (desired, live) {
                (Some(_), None) => self.add(id(), (desired, live), Fate::new(Action::Create)),
                (None, _) => self.add(id(), (desired, live), Fate::new(Action::Delete)),
                (Some(wanted), Some(present)) => {
                    let fields = wanted.compare(present, key.is_ipv6());
                    match self.route_loss(namespace, key, present, lost) {
                        Some(reason) => {
                            self.add(id(), (desired, live), Fate::new(Action::Replace).of(fields).because(Some(reason)));
                        }
                        None if fields.is_empty() => {}
                        None => self.add(id(), (desired, live), Fate::new(Action::Update).of(fields)),
                    }
                }
            }
        }
    }

    /// Why the kernel drops a live route by itself during the plan, if it does.
    fn route_loss(&self, namespace: &NamespaceName, key: &RouteKey, route: &Route, lost: &Lost) -> Option<String> {
        // An IPv6 route that leads nowhere is one over `lo` to the kernel.
        let over_loopback = (key.is_ipv6() && route.kind.is_terminal()).then_some(LinkName::LOOPBACK);
        for name in route.nexthops.iter().filter_map(|hop| hop.dev).chain(over_loopback) {
            let link = LinkId::new(namespace, name);
            if let Some(loss) = self.loss(&link) {
                return Some(loss.to_string());
            }
            if self.lowered.contains(&link) {
                return Some(format!("`{link}` goes down"));
            }
            if !key.is_ipv6() && lost.bare.contains(&link) {
                return Some(format!("the IPv4 addresses of `{link}` change"));
            }
        }
        let source = route.src.filter(|src| lost.sources.contains(&(namespace.clone(), *src)))?;
        Some(format!("its source address {source} changes"))
    }
}
