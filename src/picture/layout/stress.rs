//! Places blocks so that their distances are about those in the network: stochastic gradient descent on the stress of all pairs, after
//! J. X. Zheng, S. Pawar, D. F. M. Goodman, "Graph Drawing by Stochastic Gradient Descent", 2018.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::{Point, Task};

/// The least space between connected blocks.
const GAP: f64 = 72.0;
/// The rate of a round in parts of that before.
const COOLING: f64 = 0.8;
/// The precision of the last round.
const PRECISION: f64 = 0.1;

/// Numbers that look random and are always the same (xorshift64*).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).unwrap_or(0)
    }

    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// A pair of blocks with their ideal distance.
struct Term {
    blocks: [usize; 2],
    distance: f64,
}

/// Returns the centres.
pub fn place(task: &Task) -> Vec<Point> {
    let count = task.sizes.len();
    let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
    let mut terms = terms(task);
    let side = terms.iter().map(|term| term.distance).fold(1.0, f64::max);
    let mut centres: Vec<Point> = (0..count).map(|_| [numbers.fraction() * side, numbers.fraction() * side]).collect();
    let longest = terms.iter().map(|term| term.distance).fold(1.0, f64::max);
    let shortest = terms.iter().map(|term| term.distance).fold(longest, f64::min);
    let mut rate = longest * longest;
    while rate > PRECISION * shortest * shortest {
        for position in (1..terms.len()).rev() {
            let other = numbers.below(position + 1);
            terms.swap(position, other);
        }
        for term in &terms {
            relax(&mut centres, term, rate);
        }
        rate *= COOLING;
    }
    upright(&mut centres);
    centres
}

/// Moves both blocks of a pair towards their ideal distance.
fn relax(centres: &mut [Point], term: &Term, rate: f64) {
    let [one, other] = term.blocks;
    let step = (rate / (term.distance * term.distance)).min(1.0);
    let (x, y) = (centres[one][0] - centres[other][0], centres[one][1] - centres[other][1]);
    let length = (x * x + y * y).sqrt().max(0.01);
    let change = step * (length - term.distance) / (2.0 * length);
    centres[one] = [centres[one][0] - x * change, centres[one][1] - y * change];
    centres[other] = [centres[other][0] + x * change, centres[other][1] + y * change];
}

/// The shortest ways between all pairs.
fn terms(task: &Task) -> Vec<Term> {
    let radius = |block: usize| (task.sizes[block].width + task.sizes[block].height) / 4.0;
    let mut neighbours: Vec<Vec<(usize, f64)>> = vec![Vec::new(); task.sizes.len()];
    for ([one, other], room) in task.edges.iter().zip(&task.room) {
        neighbours[*one].push((*other, room.max(GAP)));
        neighbours[*other].push((*one, room.max(GAP)));
    }
    let mut terms = Vec::new();
    for from in 0..task.sizes.len() {
        let mut distances = vec![f64::INFINITY; task.sizes.len()];
        distances[from] = 0.0;
        // Distances are positive, so that their bits are in the same order.
        let mut queue = BinaryHeap::from([(Reverse(0_u64), from)]);
        while let Some((Reverse(bits), block)) = queue.pop() {
            if f64::from_bits(bits) > distances[block] {
                continue;
            }
            for (next, gap) in &neighbours[block] {
                let distance = distances[block] + radius(block) + gap + radius(*next);
                if distance < distances[*next] {
                    distances[*next] = distance;
                    queue.push((Reverse(distance.to_bits()), *next));
                }
            }
        }
        let reached = (from + 1..task.sizes.len()).filter(|to| distances[*to].is_finite());
        terms.extend(reached.map(|to| Term { blocks: [from, to], distance: distances[to] }));
    }
    terms
}

/// Turns the picture so that it is wider than high: its longest direction becomes the horizontal one.
fn upright(centres: &mut [Point]) {
    let count = centres.len().max(1) as f64;
    let mean = [0, 1].map(|axis| centres.iter().map(|centre| centre[axis]).sum::<f64>() / count);
    let moment = |one: usize, other: usize| {
        centres.iter().map(|centre| (centre[one] - mean[one]) * (centre[other] - mean[other])).sum::<f64>()
    };
    let (xx, xy, yy) = (moment(0, 0), moment(0, 1), moment(1, 1));
    let half = (xx - yy) / 2.0;
    let root = (half * half + xy * xy).sqrt();
    // The direction of the larger eigenvalue.
    let (x, y) = if half >= 0.0 { (half + root, xy) } else { (xy, root - half) };
    let length = (x * x + y * y).sqrt();
    if length < 1e-9 {
        return;
    }
    let (cosine, sine) = (x / length, y / length);
    for centre in centres {
        let (x, y) = (centre[0] - mean[0], centre[1] - mean[1]);
        *centre = [x * cosine + y * sine, y * cosine - x * sine];
    }
}
