//! A fit of boosted trees, of rows in memory.

use std::time::Instant;

use corten_core::random::Stream;
use corten_core::{Column, Data, Error, Numbers, Result, Values};
use corten_kernels::pages::Pages;
use corten_kernels::team::Team;
use corten_model::Labels;
use corten_model::estimator::{Context, Extras, FitInput, Fitted};

use super::binning::{self, Features};
use super::categories::Crossed;
use super::choice::Shape;
use super::fitted::Boosted;
use super::grower::Grown;
use super::layout::Binned;
use super::objective::Objective;
use super::parameters::{Common, EarlyStopping};
use super::part::{HeldOut, Part};
use super::refit;
use super::run::Rowed;
use super::splitter::Rules;
use super::train::{Plan, Trained, Training, train};
use crate::source::Source;

/// Rows times columns times trees of a round below which a second thread costs more than it does.
const SMALL: usize = 400_000;
/// Classes up to which each has a column of its own for what categories are told by.
const MOST_CLASSES: usize = 10;

/// How many threads a fit of rows, columns and trees a round uses of those that there are.
pub fn threads_for(rows: usize, width: usize, trees: usize, threads: usize) -> usize {
    if rows.saturating_mul(width).saturating_mul(trees) < SMALL { 1 } else { threads.max(1) }
}

/// What a fit is of, wherever its rows lie.
pub(super) struct Facts<'a, 'y> {
    pub(super) rows: usize,
    pub(super) width: usize,
    pub(super) y: &'y Numbers,
    pub(super) weights: Option<&'a [f64]>,
    pub(super) labels: Option<&'a Labels>,
    pub(super) objective: &'a Objective,
    pub(super) previous: Option<&'a dyn Fitted>,
    pub(super) extras: &'a Extras<'a>,
    pub(super) context: &'a Context,
}

/// A fit that may begin.
pub(super) struct Setup<'a> {
    pub(super) seed: u64,
    pub(super) train: Pages<u32>,
    pub(super) held_out: Pages<u32>,
    pub(super) rules: Rules,
    pub(super) shape: Shape,
    pub(super) plan: Plan,
    /// The sizes of queries.
    pub(super) groups: Option<Vec<u32>>,
    pub(super) previous: Option<&'a Boosted>,
    pub(super) threads: usize,
    pub(super) early: bool,
}

/// Whether a column is one of categories by its type.
pub(super) fn told_categorical(column: &Column<'_>) -> bool {
    column.categorical || matches!(column.values, Values::Text(_))
}

impl Common {
    /// Checks parameters and rows, and chooses which rows are for what.
    ///
    /// # Errors
    /// [`Error::Parameter`] and [`Error::Value`].
    pub(super) fn setup<'a>(&self, facts: &Facts<'a, '_>) -> Result<Setup<'a>> {
        let &Facts { rows, width, y, weights, labels, objective, extras, context, .. } = facts;
        self.check(width)?;
        if rows == 0 || width == 0 {
            return Err(Error::value(format!(
                "Found array with {rows} sample(s) and {width} feature(s) while a minimum of 1 of each is required."
            )));
        }
        if y.len() != rows || weights.is_some_and(|w| w.len() != rows) {
            return Err(Error::value(format!(
                "Found input variables with inconsistent numbers of samples: [{rows}, {}]",
                y.len()
            )));
        }
        if rows > u32::MAX as usize / 2 {
            return Err(Error::Limit(format!("{rows} rows; at most {} can be fitted", u32::MAX / 2)));
        }
        if let Some(bad) = weights.and_then(|w| w.iter().find(|x| !x.is_finite() || **x < 0.0)) {
            return Err(Error::value(format!("sample_weight must be finite and not negative, but {bad} came")));
        }
        let seed = self.random_state.unwrap_or(0);
        // A row without weight is no row.
        let is_used = |row: usize| weights.is_none_or(|w| w[row] > 0.0);
        let mut used = Pages::zeroed((0..rows).filter(|&row| is_used(row)).count());
        used.iter_mut().zip((0..rows).filter(|&row| is_used(row))).for_each(|(used, row)| *used = row as u32);
        if used.is_empty() {
            return Err(Error::value("Sample weights must contain at least one non-zero number."));
        }
        let metrics = self.metrics(labels.map(Labels::len))?;
        let known = !metrics.is_empty() || !matches!(objective, Objective::Outside(_));
        let early = self.stops_early(used.len())? && (known || matches!(self.early_stopping, EarlyStopping::Fixed(_)));
        if early && !known {
            return Err(Error::parameter(
                "scoring",
                "a score with early_stopping=True and a loss of your own",
                "'loss'",
            ));
        }
        let groups = groups(objective, extras.group.as_deref(), rows)?;
        if let Some(init) = &extras.init_score
            && init.len() != rows * objective.outputs()
        {
            let (outputs, found) = (objective.outputs(), init.len());
            return Err(Error::value(format!(
                "init_score should have shape ({rows}, {outputs}), but has {found} numbers"
            )));
        }
        let refit = extras.decay_rate.is_some();
        let (train, held_out) = match (early && !refit, self.validation_fraction) {
            (true, Some(fraction)) => match &groups {
                Some(sizes) => split_queries(&used, sizes, fraction, seed),
                None => split(&used, y, labels.is_some(), fraction, seed),
            }
            .map(|(train, held_out)| (train.into_iter().collect(), held_out.into_iter().collect()))?,
            _ => (used, Pages::default()),
        };
        let threads = threads_for(train.len(), width, objective.outputs(), context.threads);
        let rules = Rules {
            l1: self.l1_regularization,
            l2: self.l2_regularization,
            min_samples_leaf: self.min_samples_leaf,
            min_hessian: self.min_child_weight,
            min_gain: self.min_gain_to_split,
            max_delta: self.max_delta_step,
            monotonic: self.monotonic_cst.clone().unwrap_or_default(),
        };
        let shape = Shape {
            max_leaf_nodes: self.max_leaf_nodes.unwrap_or(usize::MAX),
            max_depth: self.max_depth.unwrap_or(usize::MAX),
            features_per_split: self.max_features,
            features_per_tree: self.colsample_bytree,
            interactions: self.interactions(width)?,
            rows: self.subsample,
        };
        let (sampled, dropout) = self.sampling()?;
        let plan = Plan {
            max_iter: self.max_iter,
            learning_rate: self.learning_rate,
            patience: early.then_some(self.n_iter_no_change),
            tol: self.tol,
            seed,
            losses: early,
            metrics: if early { metrics } else { Vec::new() },
            rows: sampled,
            dropout,
            linear: self.linear_tree.then_some(self.linear_lambda),
        };
        let previous = facts.previous.and_then(|p| p.as_any().downcast_ref::<Boosted>());
        if let Some(before) = previous {
            before.continues(objective, width, labels)?;
            if before.iterations > self.max_iter && !refit && !extras.anew {
                return Err(Error::value(format!(
                    "max_iter={} should be larger than or equal to n_iter_={} when warm_start==True",
                    self.max_iter, before.iterations
                )));
            }
        }
        Ok(Setup { seed, train, held_out, rules, shape, plan, groups, previous, threads, early })
    }

    /// Fits on rows in memory.
    pub(super) fn fit(
        &self,
        input: &FitInput<'_>,
        objective: Objective,
        y: Numbers,
        labels: Option<Labels>,
    ) -> Result<Box<dyn Fitted>> {
        let start = Instant::now();
        let source = Source::new(input.x)?;
        let (rows, width, extras) = (input.x.rows(), input.x.width(), input.extras);
        let weights = input.sample_weight;
        let setup = self.setup(&Facts {
            rows,
            width,
            y: &y,
            weights,
            labels: labels.as_ref(),
            objective: &objective,
            previous: input.previous,
            extras,
            context: input.context,
        })?;
        let categorical = match input.x {
            Data::Table(table) => {
                self.categorical(&table.columns().iter().map(told_categorical).collect::<Vec<_>>())?
            }
            Data::Csr(_) => self.categorical(&vec![false; width])?,
        };
        let Setup { seed, train: train_rows, held_out, rules, shape, plan, groups, previous, threads, early } = setup;
        Team::scope(threads, |team| {
            let (features, columns) = {
                let target = told_by(&objective, &y);
                let crossed = Crossed { targets: targets(&objective), target: &target, weights, seed };
                // The thresholds of earlier trees lie between the bins that they were grown on.
                let (features, told) = match previous {
                    Some(before) => {
                        let told = binning::told_again(&source, &before.features, &train_rows, &crossed)?;
                        (before.features.clone(), told)
                    }
                    None => binning::find(&source, &categorical, self.max_bins, &train_rows, &crossed, team)?,
                };
                let columns = binning::encode(&source, &features, &train_rows, Some((&told, 0)), team)?;
                (features, columns)
            };
            input.context.cancel.check()?;
            let part = |chosen: &[u32], y: Numbers| -> Result<Part> {
                let mut part = Part::new(chosen, y, weights);
                part = part.starting(chosen, extras.init_score.as_deref(), rows);
                if let Some(sizes) = &groups {
                    part = part.of_queries(chosen, sizes);
                }
                if self.linear_tree {
                    part = part.with_numbers(&source, &features, chosen)?;
                }
                if extras.objective.is_some() || extras.score.is_some() {
                    part.rows = chosen.to_vec();
                }
                Ok(part)
            };
            let held_out = if held_out.is_empty() {
                None
            } else {
                let columns = binning::encode(&source, &features, &held_out, None, team)?;
                Some(HeldOut { part: part(&held_out, y.take(&held_out))?, columns })
            };
            let part = part(&train_rows, if train_rows.len() == rows { y } else { y.take(&train_rows) })?;
            drop(train_rows);
            let binned = Binned::new(features, columns, team);
            let training = Training {
                objective: &objective,
                binned: Rowed::Memory(&binned),
                rules: &rules,
                shape: &shape,
                plan: &plan,
                extras,
                context: input.context,
                team,
            };
            let before = previous.filter(|_| !extras.anew).map(|p| &p.trained);
            let trained = match (extras.decay_rate, before) {
                (Some(decay), Some(before)) => refit::refit(&training, &binned, part, before, decay)?,
                (Some(_), None) => return Err(Error::value("refit needs the fit whose leaves it changes")),
                (None, before) => train(&training, part, held_out, before)?,
            };
            let features = Features { bins: binned.layout.features, sources: binned.layout.sources };
            let (objective, labels) = (objective.clone(), labels.clone());
            Ok(Box::new(boosted(objective, labels, width, features, trained, early, start)) as Box<dyn Fitted>)
        })
    }
}

/// Gain and number of splits of each column.
pub(super) fn recount(trained: &Trained, features: &Features, width: usize) -> (Vec<f64>, Vec<i64>) {
    let (mut gains, mut splits) = (vec![0.0; width], vec![0; width]);
    for node in trained.iterations.iter().flatten().flat_map(|tree| &tree.nodes) {
        if let Grown::Split { split, .. } = node {
            gains[features.sources[split.feature()]] += split.gain;
            splits[features.sources[split.feature()]] += 1;
        }
    }
    (gains, splits)
}

/// The trained trees over raw values.
pub(super) fn boosted(
    objective: Objective,
    labels: Option<Labels>,
    width: usize,
    features: Features,
    trained: Trained,
    early_stopping: bool,
    start: Instant,
) -> Boosted {
    let (gains, splits) = recount(&trained, &features, width);
    Boosted {
        objective,
        labels,
        features,
        baseline: trained.baseline.clone(),
        gains,
        splits,
        iterations: trained.iterations.len(),
        early_stopping,
        trained,
        seconds: start.elapsed().as_secs_f64(),
    }
}

/// How many numbers categories of columns with many are told by: the target, or one a class.
pub(super) fn targets(objective: &Objective) -> usize {
    match objective {
        // A column a class: beyond some, the order of categories has to do.
        Objective::Multiclass(k) if *k > MOST_CLASSES => 0,
        Objective::Multiclass(k) => *k,
        _ => 1,
    }
}

/// One of these numbers of a row: its target, or whether it is of a class.
pub(super) fn told_by<'y>(objective: &Objective, y: &'y Numbers) -> impl Fn(usize, u32) -> f64 + Sync + 'y {
    let classes = matches!(objective, Objective::Multiclass(_));
    move |target, row| {
        let y = y.get(row as usize);
        if classes { f64::from(u8::from(y as usize == target)) } else { y }
    }
}

/// Holds rows out; of each class the same share.
fn split(used: &[u32], y: &Numbers, classes: bool, fraction: f64, seed: u64) -> Result<(Vec<u32>, Vec<u32>)> {
    let share = if fraction < 1.0 { fraction } else { fraction / used.len() as f64 };
    let mut stream = Stream::new(seed, 0x0073_706c_6974);
    let mut groups: std::collections::BTreeMap<u64, Vec<u32>> = std::collections::BTreeMap::new();
    for &row in used {
        groups.entry(if classes { y.get(row as usize) as u64 } else { 0 }).or_default().push(row);
    }
    let (mut train, mut held_out) = (Vec::new(), Vec::new());
    for rows in groups.values_mut() {
        stream.shuffle(rows);
        let count = ((rows.len() as f64 * share + 0.5) as usize).min(rows.len().saturating_sub(1));
        held_out.extend_from_slice(&rows[..count]);
        train.extend_from_slice(&rows[count..]);
    }
    if held_out.is_empty() || train.is_empty() {
        return Err(Error::value(format!(
            "validation_fraction={fraction} of {} rows leaves no rows to train on or to validate with",
            used.len()
        )));
    }
    train.sort_unstable();
    held_out.sort_unstable();
    Ok((train, held_out))
}

/// The sizes of queries; all rows are one where none are given.
fn groups(objective: &Objective, sizes: Option<&[u32]>, rows: usize) -> Result<Option<Vec<u32>>> {
    if !matches!(objective, Objective::Ranking(_)) {
        return Ok(None);
    }
    let sizes = sizes.map_or_else(|| vec![rows as u32], <[u32]>::to_vec);
    let sum: u64 = sizes.iter().map(|&s| u64::from(s)).sum();
    if sum != rows as u64 {
        return Err(Error::value(format!("group should add up to the {rows} rows of X, but adds up to {sum}")));
    }
    Ok(Some(sizes))
}

/// Holds whole queries out.
fn split_queries(used: &[u32], sizes: &[u32], fraction: f64, seed: u64) -> Result<(Vec<u32>, Vec<u32>)> {
    let share = if fraction < 1.0 { fraction } else { fraction / used.len() as f64 };
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    Stream::new(seed, 0x0073_706c_6974).shuffle(&mut order);
    let count = (sizes.len() as f64 * share + 0.5) as usize;
    let mut out = vec![false; sizes.len()];
    order[..count].iter().for_each(|&q| out[q] = true);
    let of_row: Vec<bool> = sizes.iter().zip(out).flat_map(|(&n, out)| std::iter::repeat_n(out, n as usize)).collect();
    let (held_out, train): (Vec<u32>, Vec<u32>) = used.iter().partition(|&&r| of_row[r as usize]);
    if held_out.is_empty() || train.is_empty() {
        return Err(Error::value(format!(
            "validation_fraction={fraction} of {} queries leaves none to train on or to validate with; \
             early_stopping=False needs none",
            sizes.len()
        )));
    }
    Ok((train, held_out))
}
