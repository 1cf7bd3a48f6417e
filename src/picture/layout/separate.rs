//! Moves blocks apart that overlap, and out of the way of edges that have nothing to do with them.

use super::{Point, Task};

/// The least space between two blocks.
const SPACE: f64 = 22.0;
/// The least space between a block and the edge of others.
const CLEARANCE: f64 = 8.0;
/// How often all pairs are looked at.
const ROUNDS: usize = 400;
/// In larger pictures edges may pass behind blocks.
const MOST_FOR_EDGES: usize = 150;

/// Returns the centres without overlaps.
pub fn separate(task: &Task, mut centres: Vec<Point>) -> Vec<Point> {
    for round in 0..ROUNDS {
        let mut is_moved = apart(task, &mut centres);
        // At the end, only overlaps are removed.
        if task.sizes.len() <= MOST_FOR_EDGES && round < ROUNDS / 2 {
            is_moved |= clear(task, &mut centres);
        }
        if !is_moved {
            break;
        }
    }
    // What is still too near is moved for good, from left to right.
    while apart(task, &mut centres) {
        spread(&mut centres);
    }
    centres
}

/// Moves overlapping blocks apart, in the direction in which that is least. Returns whether there were some.
fn apart(task: &Task, centres: &mut [Point]) -> bool {
    let mut is_moved = false;
    for one in 0..centres.len() {
        for other in one + 1..centres.len() {
            let (a, b) = (task.sizes[one], task.sizes[other]);
            let between = [centres[other][0] - centres[one][0], centres[other][1] - centres[one][1]];
            let x = f64::midpoint(a.width, b.width) + SPACE - between[0].abs();
            let y = f64::midpoint(a.height, b.height) + SPACE - between[1].abs();
            if x <= 0.01 || y <= 0.01 {
                continue;
            }
            is_moved = true;
            let axis = usize::from(y < x);
            let amount = if axis == 0 { x } else { y } / 2.0 + 0.01;
            let sign = if between[axis] < 0.0 { -1.0 } else { 1.0 };
            centres[one][axis] -= sign * amount;
            centres[other][axis] += sign * amount;
        }
    }
    is_moved
}

fn spread(centres: &mut [Point]) {
    for centre in centres {
        *centre = centre.map(|place| place * 1.05);
    }
}

/// Moves blocks off the lines between others. Returns whether one was moved.
fn clear(task: &Task, centres: &mut [Point]) -> bool {
    let mut is_moved = false;
    for [one, other] in &task.edges {
        for block in 0..centres.len() {
            if block == *one || block == *other {
                continue;
            }
            let (from, to, at) = (centres[*one], centres[*other], centres[block]);
            let along = [to[0] - from[0], to[1] - from[1]];
            let length = (along[0] * along[0] + along[1] * along[1]).sqrt();
            if length < 1.0 {
                continue;
            }
            let unit = [along[0] / length, along[1] / length];
            let to_block = [at[0] - from[0], at[1] - from[1]];
            let position = to_block[0] * unit[0] + to_block[1] * unit[1];
            let distance = to_block[1] * unit[0] - to_block[0] * unit[1];
            let size = task.sizes[block];
            let extent = f64::midpoint(size.width * unit[1].abs(), size.height * unit[0].abs()) + CLEARANCE;
            if position <= 0.0 || position >= length || distance.abs() >= extent {
                continue;
            }
            is_moved = true;
            let amount = (extent - distance.abs()).min(12.0) * if distance < 0.0 { -1.0 } else { 1.0 };
            centres[block] = [at[0] - unit[1] * amount, at[1] + unit[0] * amount];
        }
    }
    is_moved
}
