//! A fit of boosted trees on rows that are read block by block.

use std::collections::BTreeMap;
use std::time::Instant;

use corten_core::{Error, Numbers, Result, Table};
use corten_kernels::pages::Pages;
use corten_kernels::team::Team;
use corten_model::estimator::{BlockInput, Blocks as Reading, Context, Fitted};
use corten_model::ops::CategoryValues;

use super::store::Filling;
use crate::boosting::binning::{self, Bins, Feature, Features};
use crate::boosting::bundles;
use crate::boosting::categories::{Census, Crossed, Finder, Told};
use crate::boosting::fitting::{Facts, Setup, boosted, targets, told_by, told_categorical};
use crate::boosting::layout::{Columns, Layout};
use crate::boosting::objective::Objective;
use crate::boosting::parameters::Common;
use crate::boosting::part::{HeldOut, Part};
use crate::boosting::run::Rowed;
use crate::boosting::train::{Training, train};
use crate::source::Source;

/// What is known of a column after one pass.
enum Sketch {
    /// Numbers of the sampled rows.
    Numbers(Vec<f64>),
    Categories(Census),
}

/// Rows as they are read, and who reads them.
struct Reader<'a> {
    x: &'a dyn Reading,
    rows: usize,
    context: &'a Context,
    team: Team<'a>,
}

impl Reader<'_> {
    /// Calls `each` with the blocks of some columns and the number of the first row of each.
    fn read(&self, columns: &[usize], each: &mut dyn FnMut(&Table<'_>, u32) -> Result<()>) -> Result<()> {
        let mut at = 0;
        self.x.read(columns, &mut |table| {
            self.context.cancel.check()?;
            if at + table.rows() > self.rows {
                return Err(changed());
            }
            each(table, at as u32)?;
            at += table.rows();
            Ok(())
        })?;
        if at < self.rows { Err(changed()) } else { Ok(()) }
    }

    /// Finds how columns become bins: as of rows in memory, from the same sample.
    fn find(
        &self,
        categorical: &[bool],
        max_bins: usize,
        train: &[u32],
        crossed: &Crossed<'_>,
    ) -> Result<(Features, Vec<Option<Told>>)> {
        let sample = binning::sample(train, crossed.seed);
        let head = self.x.head().columns();
        let all: Vec<usize> = (0..head.len()).collect();
        let mut sketches: Vec<(Sketch, Result<()>)> = head
            .iter()
            .zip(categorical)
            .map(|(column, &categorical)| {
                let is_category = binning::is_category(column, categorical);
                let empty = || Sketch::Numbers(Vec::with_capacity(sample.len()));
                (if is_category { Sketch::Categories(Census::of(column)) } else { empty() }, Ok(()))
            })
            .collect();
        self.read(&all, &mut |table, at| {
            let (some, own) = (within(&sample, at, table), within(train, at, table));
            self.team.each(&mut sketches, |i, (sketch, outcome)| {
                let column = &table.columns()[i];
                *outcome = match sketch {
                    Sketch::Numbers(values) => binning::numbers_of(column, &some).map(|v| values.extend(v)),
                    Sketch::Categories(census) => census.absorb(column, &own),
                };
            });
            sketches.iter_mut().try_for_each(|s| std::mem::replace(&mut s.1, Ok(())))
        })?;
        let mut found: Vec<Result<Found>> = Vec::with_capacity(head.len());
        for ((sketch, _), column) in sketches.into_iter().zip(head) {
            found.push(match sketch {
                Sketch::Numbers(values) => Ok(Found::Numbers(values)),
                Sketch::Categories(census) => census.finish(&column.name).map(|(v, c)| Found::Categories(v, c)),
            });
        }
        let found: Vec<Found> = found.into_iter().collect::<Result<_>>()?;
        let mut told = self.tell(&found, max_bins, train, crossed)?;
        let mut made: Vec<(Found, Vec<Told>, Vec<Feature>)> = found
            .into_iter()
            .enumerate()
            .map(|(i, found)| (found, told.remove(&i).unwrap_or_default(), Vec::new()))
            .collect();
        self.team.each(&mut made, |_, (found, told, features)| {
            *features = match found {
                Found::Numbers(values) => binning::by_number(std::mem::take(values), max_bins),
                Found::Categories(values, counts) => {
                    binning::by_category(values.clone(), counts, std::mem::take(told), max_bins, train.len())
                }
            };
        });
        Ok(binning::gather(made.into_iter().map(|m| m.2).collect()))
    }

    /// What columns of many categories are told by: another pass, over them alone.
    fn tell(
        &self,
        found: &[Found],
        max_bins: usize,
        train: &[u32],
        crossed: &Crossed<'_>,
    ) -> Result<BTreeMap<usize, Vec<Told>>> {
        let coded: Vec<(usize, &CategoryValues)> = found
            .iter()
            .enumerate()
            .filter_map(|(i, f)| match f {
                Found::Categories(values, _) if binning::are_coded(values.len(), max_bins, train.len()) => {
                    Some((i, values))
                }
                _ => None,
            })
            .collect();
        if coded.is_empty() || crossed.targets == 0 {
            return Ok(BTreeMap::new());
        }
        let new = |values: &CategoryValues| {
            (0..crossed.targets).map(|target| Told::new(crossed.seed, target, values.len())).collect::<Vec<_>>()
        };
        let mut told: Vec<(Vec<Told>, Result<()>)> = coded.iter().map(|c| (new(c.1), Ok(()))).collect();
        let columns: Vec<usize> = coded.iter().map(|c| c.0).collect();
        self.read(&columns, &mut |table, at| {
            let own = within(train, at, table);
            self.team.each(&mut told, |i, (told, outcome)| {
                let absorb = |rows: &[u32], levels: &[u32]| {
                    told.iter_mut().for_each(|t| t.absorb(crossed, levels, rows, at));
                };
                *outcome = Finder::new(&table.columns()[i], coded[i].1, own.len()).and_then(|f| f.each(&own, absorb));
            });
            told.iter_mut().try_for_each(|t| std::mem::replace(&mut t.1, Ok(())))
        })?;
        told.iter_mut().flat_map(|t| &mut t.0).for_each(Told::finish);
        Ok(columns.into_iter().zip(told.into_iter().map(|t| t.0)).collect())
    }

    /// Bins the training rows into blocks, and the held-out rows column after column.
    fn encode(
        &self,
        features: &Features,
        told: &[Option<Told>],
        [train, held_out]: [&[u32]; 2],
        (memory, share): (usize, f64),
    ) -> Result<(super::Blocks, Columns)> {
        let (groups, members) = bundles::by_counts(&features.bins);
        let layout = Layout::new(features.clone(), &groups, members.clone());
        let all = groups.len() as f64 * train.len() as f64;
        let mut filling = Filling::new(layout, memory.min((all * share) as usize));
        let mut others: Pages<u8> = Pages::zeroed(features.bins.len() * held_out.len());
        let mut done = 0;
        let all: Vec<usize> = (0..self.x.head().width()).collect();
        self.read(&all, &mut |table, at| {
            let source = Source::Table(table.columns());
            let own = within(train, at, table);
            let columns = binning::encode(&source, features, &own, Some((told, at)), self.team)?;
            filling.push(&bundles::columns(columns, &groups, &members, self.team), self.team)?;
            let other = within(held_out, at, table);
            if !other.is_empty() {
                let columns = binning::encode(&source, features, &other, None, self.team)?;
                for f in 0..features.bins.len() {
                    others[f * held_out.len() + done..][..other.len()].copy_from_slice(columns.get(f));
                }
                done += other.len();
            }
            Ok(())
        })?;
        Ok((filling.finish()?, Columns::new(others, held_out.len())))
    }
}

/// What one pass found in a column.
enum Found {
    Numbers(Vec<f64>),
    Categories(CategoryValues, Vec<u64>),
}

fn changed() -> Error {
    Error::value("the number of rows changed while they were read")
}

/// The rows of an ascending list that a table holds, as places in it.
fn within(rows: &[u32], at: u32, table: &Table<'_>) -> Vec<u32> {
    let end = at + table.rows() as u32;
    let own = &rows[rows.partition_point(|&r| r < at)..];
    own[..own.partition_point(|&r| r < end)].iter().map(|&r| r - at).collect()
}

impl Common {
    /// Fits on rows that are read block by block.
    pub(in crate::boosting) fn fit_blocks(
        &self,
        input: BlockInput<'_>,
        objective: Objective,
    ) -> Result<Box<dyn Fitted>> {
        let start = Instant::now();
        let BlockInput { x, y, labels, sample_weight, memory, previous, extras, context } = input;
        let (rows, head) = (y.len(), x.head());
        let width = head.width();
        if self.linear_tree {
            return Err(Error::parameter("linear_tree", "False for rows that are read block by block", "True"));
        }
        let weights = sample_weight.as_deref();
        let setup = self.setup(&Facts {
            rows,
            width,
            y: &y,
            weights,
            labels: labels.as_ref(),
            objective: &objective,
            previous,
            extras,
            context,
        })?;
        let told: Vec<bool> = head.columns().iter().map(told_categorical).collect();
        let categorical = self.categorical(&told)?;
        let Setup { seed, train: train_rows, held_out, rules, shape, plan, groups, previous, threads, early } = setup;
        Team::scope(threads, |team| {
            let reader = Reader { x, rows, context, team };
            let (features, (blocks, columns)) = {
                let target = told_by(&objective, &y);
                let crossed = Crossed { targets: targets(&objective), target: &target, weights, seed };
                let (features, told) = match previous {
                    Some(before) => {
                        let again = reader.told_again(&before.features, &train_rows, &crossed)?;
                        (before.features.clone(), again)
                    }
                    None => reader.find(&categorical, self.max_bins, &train_rows, &crossed)?,
                };
                let encoded = reader.encode(&features, &told, [&train_rows, &held_out], memory)?;
                (features, encoded)
            };
            let part = |chosen: &[u32], y: Numbers| {
                let mut part = Part::new(chosen, y, weights);
                part = part.starting(chosen, extras.init_score.as_deref(), rows);
                if let Some(sizes) = &groups {
                    part = part.of_queries(chosen, sizes);
                }
                if extras.objective.is_some() || extras.score.is_some() {
                    part.rows = chosen.to_vec();
                }
                part
            };
            let others = (!held_out.is_empty()).then(|| HeldOut { part: part(&held_out, y.take(&held_out)), columns });
            let own = part(&train_rows, if train_rows.len() == rows { y } else { y.take(&train_rows) });
            drop((train_rows, held_out));
            let training = Training {
                objective: &objective,
                binned: Rowed::Blocks(&blocks),
                rules: &rules,
                shape: &shape,
                plan: &plan,
                extras,
                context,
                team,
            };
            let before = previous.filter(|_| !extras.anew).map(|p| &p.trained);
            let trained = train(&training, own, others, before)?;
            let labels = labels.clone();
            let model = boosted(objective.clone(), labels, width, features, trained, early, start);
            Ok(Box::new(model) as Box<dyn Fitted>)
        })
    }
}

impl Reader<'_> {
    /// What the rows of another fit are told by, in features that are there already.
    fn told_again(&self, features: &Features, train: &[u32], crossed: &Crossed<'_>) -> Result<Vec<Option<Told>>> {
        let new = |bins: &Bins| match bins {
            Bins::Coded(c) => c.target.map(|t| Told::new(crossed.seed, t, c.values.len())),
            _ => None,
        };
        let mut told: Vec<Option<Told>> = features.bins.iter().map(new).collect();
        if told.iter().all(Option::is_none) {
            return Ok(told);
        }
        let all: Vec<usize> = (0..self.x.head().width()).collect();
        self.read(&all, &mut |table, at| {
            let own = within(train, at, table);
            for ((told, bins), &source) in told.iter_mut().zip(&features.bins).zip(&features.sources) {
                if let (Some(told), Bins::Coded(coded)) = (told, bins) {
                    Finder::new(&table.columns()[source], &coded.values, own.len())?
                        .each(&own, |rows, levels| told.absorb(crossed, levels, rows, at))?;
                }
            }
            Ok(())
        })?;
        told.iter_mut().flatten().for_each(Told::finish);
        Ok(told)
    }
}
