//! Times until an event: Cox's partial likelihood (JRSS B 34, 1972), ties by Breslow's rule.
//!
//! A row's target is the time of its event, or minus the time until which it had none, as XGBoost takes them.

use corten_kernels::special;

/// Rows from the latest time down, in groups of equal times.
fn groups(y: &[f64]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..y.len()).collect();
    order.sort_by(|&a, &b| y[b].abs().total_cmp(&y[a].abs()).then(a.cmp(&b)));
    order.chunk_by(|&a, &b| y[a].abs() == y[b].abs()).map(<[usize]>::to_vec).collect()
}

/// The weighted hazards of all rows at the time of each group or later, over the hazard at `top`.
fn at_risk(groups: &[Vec<usize>], weights: Option<&[f64]>, scores: &[f64], top: f64) -> Vec<f64> {
    let mut sum = 0.0;
    groups
        .iter()
        .map(|group| {
            for &row in group {
                sum += weights.map_or(1.0, |w| w[row]) * special::exp(scores[row] - top);
            }
            sum
        })
        .collect()
}

fn top(scores: &[f64]) -> f64 {
    scores.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b))
}

/// Gradients and hessians, weights included.
pub(super) fn slopes(y: &[f64], weights: Option<&[f64]>, scores: &[f64]) -> [Vec<f64>; 2] {
    let (groups, top) = (groups(y), top(scores));
    let risks = at_risk(&groups, weights, scores, top);
    let (mut g, mut h) = (vec![0.0; y.len()], vec![0.0; y.len()]);
    let weight = |row: usize| weights.map_or(1.0, |w| w[row]);
    // From the earliest time on: what the events up to it say of all that were at risk.
    let (mut first, mut second) = (0.0, 0.0);
    for (group, &risk) in groups.iter().zip(&risks).rev() {
        let events: f64 = group.iter().filter(|&&r| y[r] > 0.0).map(|&r| weight(r)).sum();
        first += events / risk;
        second += events / (risk * risk);
        for &row in group {
            let hazard = weight(row) * special::exp(scores[row] - top);
            g[row] = hazard * first - if y[row] > 0.0 { weight(row) } else { 0.0 };
            h[row] = hazard * first - hazard * hazard * second;
        }
    }
    [g, h]
}

/// Minus the logarithm of the partial likelihood, over the weight of events.
pub(super) fn loss(y: &[f64], weights: Option<&[f64]>, scores: &[f64]) -> f64 {
    let (groups, top) = (groups(y), top(scores));
    let risks = at_risk(&groups, weights, scores, top);
    let (mut sum, mut total) = (0.0, 0.0);
    for (group, &risk) in groups.iter().zip(&risks) {
        for &row in group.iter().filter(|&&r| y[r] > 0.0) {
            let w = weights.map_or(1.0, |w| w[row]);
            sum += w * (special::ln(risk) + top - scores[row]);
            total += w;
        }
    }
    if total > 0.0 { sum / total } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradients_are_the_slopes_of_the_loss() {
        let y = [5.0, -3.0, 3.0, 3.0, 1.0, -7.0, 2.0];
        let scores = [0.3, -0.2, 0.8, 0.1, -1.0, 0.4, 0.0];
        let weights = [1.0, 2.0, 0.5, 1.0, 3.0, 1.0, 1.5];
        let events: f64 = (0..7).filter(|&i| y[i] > 0.0).map(|i| weights[i]).sum();
        let [g, h] = slopes(&y, Some(&weights), &scores);
        for i in 0..7 {
            let moved = |d: f64| {
                let mut s = scores;
                s[i] += d;
                s
            };
            let d = 1e-5;
            let loss_at = |s: &[f64]| events * loss(&y, Some(&weights), s);
            let slope = (loss_at(&moved(d)) - loss_at(&moved(-d))) / (2.0 * d);
            assert!((slope - g[i]).abs() < 1e-8, "{i}: {slope} {}", g[i]);
            let bend = (slopes(&y, Some(&weights), &moved(d))[0][i] - slopes(&y, Some(&weights), &moved(-d))[0][i])
                / (2.0 * d);
            assert!((bend - h[i]).abs() < 1e-8, "{i}: {bend} {}", h[i]);
        }
    }
}
