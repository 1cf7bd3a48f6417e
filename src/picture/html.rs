//! Writes a placed picture as a page that needs no other file and no network: the same SVG, and a script to move in it, search, fold and
//! read what the lab file says.

use serde_json::json;

use super::layout::Placed;
use super::svg::{self, STYLE, body, text};

const PAGE: &str = include_str!("page.html");
const PAGE_STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Returns the picture as an HTML document.
pub fn html(placed: &Placed<'_>, title: &str) -> String {
    let size = svg::whole(placed);
    let picture = format!(
        "<svg class=\"picture\" id=\"picture\" viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">\n{}</svg>",
        size.width,
        size.height,
        text(title),
        body(placed)
    );
    let data = json!({
        "nodes": placed.picture.nodes,
        "edges": placed.picture.edges,
        "size": [size.width, size.height],
        "centres": placed.nodes.iter().map(|(centre, _)| centre).collect::<Vec<_>>(),
        "boxes": placed.nodes.iter().map(|(centre, size)| [centre[0], centre[1], size.width, size.height]).collect::<Vec<_>>(),
        "blocks": blocks(placed),
    });
    // In a script, `</` would end it.
    let data = data.to_string().replace('<', "\\u003c");
    let parts = [
        ("{{style}}", format!("{STYLE}{PAGE_STYLE}")),
        ("{{title}}", text(title)),
        ("{{picture}}", picture),
        ("{{data}}", data),
        ("{{script}}", SCRIPT.to_owned()),
    ];
    fill(PAGE, &parts)
}

/// The nodes that others are folded into, with the boxes around all of them.
fn blocks(placed: &Placed<'_>) -> Vec<serde_json::Value> {
    let blocks = placed.blocks.iter().enumerate().filter(|(_, (block, _))| block.members.len() > 1);
    let described = blocks.map(|(position, (block, centre))| {
        let size = block.size;
        json!({ "block": position, "head": block.members[0].node, "box": [centre[0], centre[1], size.width, size.height] })
    });
    described.collect()
}

/// Puts the parts in their places. What is put there is not looked at again.
fn fill(page: &str, parts: &[(&str, String)]) -> String {
    let mut out = String::new();
    let mut rest = page;
    for (place, part) in parts {
        let Some((before, after)) = rest.split_once(place) else { continue };
        out.push_str(before);
        out.push_str(part);
        rest = after;
    }
    out + rest
}
