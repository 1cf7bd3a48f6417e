//! Leaves out of routes what the lab file finds by itself: the interface that a gateway is behind.

use std::collections::BTreeMap;

use crate::lower::lower;
use crate::name::NamespaceName;
use crate::resource::object::Object;
use crate::resource::route::Route;
use crate::spec::LabFile;
use crate::spec::file::NamespaceSpec;
use crate::state::State;

/// Removes the `dev` of next hops with a gateway from the lab file of a state, in every namespace where the routes stay what they are.
pub fn leave_out(lab: &mut LabFile, state: &State) {
    let mut short = lab.clone();
    let mut is_shorter = false;
    for route in short.namespaces.values_mut().flat_map(|spec| &mut spec.routes) {
        let hops = route.nexthops.iter_mut().map(|hop| (&hop.via, &mut hop.dev, hop.onlink));
        for (via, dev, onlink) in hops.chain([(&route.via, &mut route.dev, route.onlink)]) {
            if via.is_some() && dev.is_some() && !onlink {
                *dev = None;
                is_shorter = true;
            }
        }
    }
    if !is_shorter {
        return;
    }
    // Names of tables do not occur in what was raised.
    let lowered = lower(&short, &BTreeMap::new()).state;
    let [wanted, found] = [state, &lowered].map(routes);
    for (namespace, spec) in short.namespaces {
        if let Some(own) = lab.namespaces.get_mut(&namespace)
            && are_same(wanted.get(&namespace), found.get(&namespace))
        {
            let NamespaceSpec { routes, .. } = spec;
            own.routes = routes;
        }
    }
}

type Routes<'s> = BTreeMap<&'s <Route as Object>::Key, &'s Route>;

/// Returns the routes of each namespace.
fn routes(state: &State) -> BTreeMap<&NamespaceName, Routes<'_>> {
    let mut routes: BTreeMap<&NamespaceName, Routes<'_>> = BTreeMap::new();
    for ((namespace, key), route) in state.objects::<Route>() {
        routes.entry(namespace).or_default().insert(key, route);
    }
    routes
}

fn are_same(wanted: Option<&Routes<'_>>, found: Option<&Routes<'_>>) -> bool {
    let (Some(wanted), Some(found)) = (wanted, found) else { return false };
    let mut pairs = wanted.iter().zip(found);
    wanted.len() == found.len()
        && pairs.all(|((key, wanted), (other, found))| key == other && Route::compare(key, found, wanted).is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raise::raise;

    /// The routes of namespace `a` without what they need not say. `lab` is the rest of the file.
    #[track_caller]
    fn check(addresses: &str, routes: &str, expected: &[serde_json::Value]) {
        let text = format!(
            "{{ name: demo, namespaces: {{ a: {{ interfaces: {{ {addresses} }}, routes: {routes} }}, b: {{}} }}, links: [{{ endpoints: [a:x, b:x] }}, {{ endpoints: [a:y, b:y] }}] }}"
        );
        let state = lower(&crate::spec::load(&text).lab.unwrap(), &BTreeMap::new()).state;
        let mut lab = raise(&"demo".parse().unwrap(), &state).lab;
        leave_out(&mut lab, &state);
        let routes: Vec<_> =
            lab.namespaces[&"a".parse().unwrap()].routes.iter().map(|route| serde_json::to_value(route).unwrap()).collect();
        assert_eq!(routes, expected);
        assert_eq!(lower(&lab, &BTreeMap::new()).state, state);
    }

    #[test]
    fn the_interface_of_a_gateway_follows_from_the_addresses() {
        let addresses = "x: { addresses: [10.0.0.1/24] }, y: { addresses: [10.0.1.1/24] }";
        let json = serde_json::json!([{ "to": "10.9.0.0/16", "dev": "y" }, { "to": "default", "via": "10.0.0.2" }]);
        let routes = "[{ to: default, via: 10.0.0.2, dev: x }, { to: 10.9.0.0/16, dev: y }]";
        check(addresses, routes, json.as_array().unwrap());
    }

    #[test]
    fn an_ambiguous_gateway_keeps_its_interface() {
        let addresses = "x: { addresses: [10.0.0.1/24] }, y: { addresses: [10.0.0.3/24] }";
        let json = serde_json::json!([{ "to": "default", "via": "10.0.0.2", "dev": "y" }]);
        check(addresses, "[{ to: default, via: 10.0.0.2, dev: y }]", json.as_array().unwrap());
    }
}
