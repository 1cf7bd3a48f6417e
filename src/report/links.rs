//! Lists the links of a lab in a table: one row for each link, and further rows for addresses that do not fit.

use crate::name::{LinkId, LinkName, escape};
use crate::resource::address::Address;
use crate::resource::link::Link;
use crate::state::Live;

/// The titles of the columns.
pub const HEAD: [&str; 6] = ["NAMESPACE", "INTERFACE", "KIND", "STATE", "CONNECTED", "ADDRESSES"];
/// The width of a terminal.
const WIDTH: usize = 80;
/// The spaces between two columns.
const GAP: usize = 2;

/// Returns the rows of the table. A loopback has one only if there is something to say of it.
pub fn rows(live: &Live) -> Vec<Vec<String>> {
    let shown = live.state.links.iter().filter(|(id, link)| !is_usual_loopback(live, id, link));
    let links: Vec<_> = shown.map(|(id, link)| (cells(live, id, link), addresses(live, id))).collect();
    let widths: usize = (0..HEAD.len() - 1)
        .map(|column| links.iter().map(|(cells, _)| cells[column].chars().count()).chain([HEAD[column].len()]).max().unwrap_or(0))
        .map(|width| width + GAP)
        .sum();
    let room = WIDTH.saturating_sub(widths);
    links.into_iter().flat_map(|(cells, addresses)| wrapped(cells, &addresses, room)).collect()
}

fn is_usual_loopback(live: &Live, id: &LinkId, link: &Link) -> bool {
    link.is_as_created() && addresses(live, id).is_empty()
}

fn cells(live: &Live, id: &LinkId, link: &Link) -> Vec<String> {
    let kind = match link.kind.name() {
        "" if link.external => "external",
        "" => "-",
        kind => kind,
    };
    let state = match link.settings.up {
        Some(false) => "down",
        _ if live.idle.contains(id) => "no-carrier",
        _ => "up",
    };
    let connected = connected(id, link);
    let cells = [id.namespace.as_str(), &id.name.as_str(), kind, state, &connected].map(|cell| escape(cell).into_owned());
    cells.to_vec()
}

/// Returns the other end, the parent and the master: `b:eth0`, `on eth0`, `in br0`.
fn connected(id: &LinkId, link: &Link) -> String {
    let near = |other: LinkId| if other.namespace == id.namespace { other.name.to_string() } else { other.to_string() };
    let peer = link.kind.peer().map(|peer| peer.resolve(&id.namespace).to_string());
    let parent = link.kind.below(&id.namespace).map(|parent| format!("on {}", near(parent)));
    let master = link.settings.master.map(|master: LinkName| format!("in {master}"));
    let all: Vec<_> = [peer, parent, master].into_iter().flatten().collect();
    if all.is_empty() { "-".to_owned() } else { all.join(" ") }
}

/// Returns the addresses of a link, in their order.
fn addresses(live: &Live, id: &LinkId) -> Vec<String> {
    let all = live.state.objects::<Address>().iter();
    let mut own: Vec<_> = all.filter(|((namespace, key), _)| *namespace == id.namespace && key.link == id.name).collect();
    own.sort_by_key(|(_, address)| address.order);
    own.into_iter().map(|((_, key), _)| key.address.to_string()).collect()
}

/// Distributes addresses over as many rows as they need. Each row has at least one.
fn wrapped(cells: Vec<String>, addresses: &[String], room: usize) -> Vec<Vec<String>> {
    let mut lines: Vec<String> = Vec::new();
    for address in addresses {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + address.len() <= room => *line = format!("{line} {address}"),
            _ => lines.push(address.clone()),
        }
    }
    let mut lines = lines.into_iter();
    let first = lines.next().unwrap_or_else(|| "-".to_owned());
    let further = lines.map(|line| vec![String::new(); HEAD.len() - 1].into_iter().chain([line]).collect());
    let further: Vec<Vec<String>> = further.collect();
    let mut rows = vec![cells];
    rows[0].push(first);
    rows.extend(further);
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_do_not_fit_have_rows_of_their_own() {
        let addresses = ["10.0.0.1/24", "10.0.1.1/24", "2001:db8::1/64"].map(str::to_owned);
        let rows = wrapped(vec!["a".to_owned(); 5], &addresses, 24);
        assert_eq!(rows.iter().map(|row| row[5].as_str()).collect::<Vec<_>>(), ["10.0.0.1/24 10.0.1.1/24", "2001:db8::1/64"]);
        assert_eq!(rows[1][..5], [""; 5]);
        assert_eq!(wrapped(vec!["a".to_owned(); 5], &addresses, 0).len(), 3);
        assert_eq!(wrapped(vec!["a".to_owned(); 5], &[], 24)[0][5], "-");
    }
}
