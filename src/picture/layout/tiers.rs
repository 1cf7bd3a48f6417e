//! Places blocks in rows. In a topology, the row of a block is its distance from the nearest host, and hosts are at the bottom. In a directed
//! picture, each block is above what it needs.

use super::{Point, Task};

/// The space between blocks of a row, and between rows.
const GAPS: [f64; 2] = [24.0, 60.0];
/// The width of the longest line in parts of the height that all would have.
const SHAPE: f64 = 3.0;
/// A line is at least that wide before a row is divided.
const LEAST_WIDTH: f64 = 1400.0;
/// How often rows are sorted by their neighbours.
const SWEEPS: usize = 12;

/// Returns the centres.
pub fn place(task: &Task) -> Vec<Point> {
    let tiers = if task.is_directed { depths(task) } else { distances(task) };
    let count = tiers.iter().max().map_or(0, |most| most + 1);
    let mut rows: Vec<Vec<usize>> = vec![Vec::new(); count];
    tiers.iter().enumerate().for_each(|(block, tier)| rows[*tier].push(block));
    let neighbours = task.neighbours();
    let mut centres = positions(task, &rows);
    for sweep in 0..SWEEPS {
        for position in 0..rows.len() {
            let row = if sweep % 2 == 0 { position } else { rows.len() - 1 - position };
            let mean = |block: &usize| {
                let others = neighbours[*block].iter().filter(|other| tiers[**other] != row);
                let (sum, count) = others.fold((0.0, 0), |(sum, count), other| (sum + centres[*other][0], count + 1));
                if count == 0 { centres[*block][0] } else { sum / f64::from(count) }
            };
            let mut keyed: Vec<(f64, usize)> = rows[row].iter().map(|block| (mean(block), *block)).collect();
            keyed.sort_by(|one, other| one.0.total_cmp(&other.0));
            rows[row] = keyed.into_iter().map(|(_, block)| block).collect();
            centres = positions(task, &rows);
        }
    }
    centres
}

/// Centres each row, the first one at the bottom. A long row takes several lines.
fn positions(task: &Task, rows: &[Vec<usize>]) -> Vec<Point> {
    let mut centres = vec![[0.0; 2]; task.sizes.len()];
    let width_of = |blocks: &[usize]| blocks.iter().map(|block| task.sizes[*block].width + GAPS[0]).sum::<f64>();
    let area: f64 = task.sizes.iter().map(|size| (size.width + GAPS[0]) * (size.height + GAPS[1])).sum();
    let widest = (area * SHAPE).sqrt().max(LEAST_WIDTH);
    let lines = rows.iter().flat_map(|row| {
        let lines = (1..row.len()).find(|lines| width_of(row) <= widest * *lines as f64).unwrap_or(row.len());
        row.chunks(row.len().div_ceil(lines.max(1)).max(1))
    });
    let mut bottom = 0.0;
    for row in lines {
        let width = width_of(row);
        let height = row.iter().map(|block| task.sizes[*block].height).fold(0.0, f64::max);
        let mut left = -width / 2.0;
        for block in row {
            let size = task.sizes[*block];
            centres[*block] = [left + size.width / 2.0, bottom - height / 2.0];
            left += size.width + GAPS[0];
        }
        bottom -= height + GAPS[1];
    }
    centres
}

/// The distance of each block from the nearest one with hosts, or with a single neighbour. Without such, from the one with most neighbours,
/// which is at the top.
fn distances(task: &Task) -> Vec<usize> {
    let neighbours = task.neighbours();
    let is_host = |block: &usize| task.has_hosts[*block] || neighbours[*block].len() < 2;
    let hosts: Vec<usize> = (0..task.sizes.len()).filter(is_host).collect();
    if hosts.is_empty() {
        let hub = (0..task.sizes.len()).max_by_key(|block| (neighbours[*block].len(), std::cmp::Reverse(*block)));
        let distances = distances_from(&neighbours, &hub.into_iter().collect::<Vec<_>>());
        let most = distances.iter().copied().max().unwrap_or(0);
        return distances.into_iter().map(|distance| most - distance).collect();
    }
    distances_from(&neighbours, &hosts)
}

fn distances_from(neighbours: &[Vec<usize>], from: &[usize]) -> Vec<usize> {
    let mut distances = vec![usize::MAX; neighbours.len()];
    for block in from {
        distances[*block] = 0;
    }
    let mut pending: std::collections::VecDeque<usize> = from.iter().copied().collect();
    while let Some(block) = pending.pop_front() {
        for next in &neighbours[block] {
            if distances[*next] == usize::MAX {
                distances[*next] = distances[block] + 1;
                pending.push_back(*next);
            }
        }
    }
    distances.into_iter().map(|distance| if distance == usize::MAX { 0 } else { distance }).collect()
}

/// The longest way from each block along what it needs. Circles end after as many steps as there are blocks.
fn depths(task: &Task) -> Vec<usize> {
    let mut depths = vec![0; task.sizes.len()];
    for _ in 0..task.sizes.len() {
        let mut is_settled = true;
        for [one, other] in &task.edges {
            if depths[*one] <= depths[*other] && depths[*other] + 1 < task.sizes.len() {
                depths[*one] = depths[*other] + 1;
                is_settled = false;
            }
        }
        if is_settled {
            break;
        }
    }
    depths
}
