//! Puts the connected parts of a picture beside each other, in rows.

use super::Point;
use crate::picture::size::Size;

/// The space between parts.
const GAP: f64 = 36.0;
/// The width of the whole in parts of its height.
const SHAPE: f64 = 1.6;
/// How many more widths are tried.
const TRIES: u8 = 12;

/// A connected part.
pub struct Part {
    /// The blocks.
    members: Vec<usize>,
    /// Their centres, from the upper left corner.
    centres: Vec<Point>,
    size: Size,
}

impl Part {
    /// Makes a part of blocks with these centres. `sizes` are those of all blocks.
    pub fn new(members: Vec<usize>, mut centres: Vec<Point>, sizes: &[Size]) -> Self {
        let halves = || members.iter().map(|block| [sizes[*block].width / 2.0, sizes[*block].height / 2.0]);
        let edge = |axis: usize, sign: f64| {
            let ends = centres.iter().zip(halves()).map(|(centre, half)| sign * centre[axis] + half[axis]);
            ends.fold(f64::NEG_INFINITY, f64::max)
        };
        let (left, top) = (-edge(0, -1.0), -edge(1, -1.0));
        let size = Size { width: edge(0, 1.0) - left, height: edge(1, 1.0) - top };
        for centre in &mut centres {
            *centre = [centre[0] - left, centre[1] - top];
        }
        Self { members, centres, size }
    }
}

/// Returns the size of the whole and the centres of all blocks. Of several widths, the one that gives the best shape is taken.
pub fn pack(mut parts: Vec<Part>, count: usize, margin: f64) -> (Size, Vec<Point>) {
    parts.sort_by(|one, other| other.size.height.total_cmp(&one.size.height));
    let area: f64 = parts.iter().map(|part| (part.size.width + GAP) * (part.size.height + GAP)).sum();
    let widest = parts.iter().map(|part| part.size.width).fold(0.0, f64::max);
    let widths = (0..=TRIES).map(|n| ((area * SHAPE).sqrt() * (0.8 + 0.1 * f64::from(n))).max(widest));
    let packed = widths.map(|width| in_rows(&parts, count, margin, width));
    let extent = |size: Size| (size.width / SHAPE).max(size.height);
    packed.min_by(|one, other| extent(one.0).total_cmp(&extent(other.0))).unwrap_or_default()
}

/// Puts the parts in rows of this width.
fn in_rows(parts: &[Part], count: usize, margin: f64, widest: f64) -> (Size, Vec<Point>) {
    let mut centres = vec![[0.0; 2]; count];
    let (mut left, mut top, mut row, mut width) = (0.0, 0.0, 0.0_f64, 0.0_f64);
    for part in parts {
        if left > 0.0 && left + part.size.width > widest {
            (left, top, row) = (0.0, top + row + GAP, 0.0);
        }
        for (block, centre) in part.members.iter().zip(&part.centres) {
            centres[*block] = [rounded(margin + left + centre[0]), rounded(margin + top + centre[1])];
        }
        width = width.max(left + part.size.width);
        row = row.max(part.size.height);
        left += part.size.width + GAP;
    }
    let size = Size { width: (width + 2.0 * margin).ceil(), height: (top + row + 2.0 * margin).ceil() };
    (size, centres)
}

/// Tenths of a pixel are enough, and hide the last digits, which may differ between machines.
fn rounded(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}
