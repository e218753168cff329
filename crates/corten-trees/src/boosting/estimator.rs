//! The boosting estimators.

use corten_core::{Error, Numbers, Result, parameter};
use corten_model::Labels;
use corten_model::estimator::{BlockInput, Estimator, FitInput, Fitted, Target};
use serde::{Deserialize, Serialize};

use super::objective::{Expression, Objective, Ranking};
use super::parameters::Common;

/// The name of a loss from outside.
const OUTSIDE: &str = "outside";

/// Gradient boosting of classification trees; parameters as scikit-learn's estimator of this name.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct HistGradientBoostingClassifier {
    loss: String,
    #[serde(flatten)]
    common: Common,
}

/// One quantile, or several at once.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Quantile {
    One(Option<f64>),
    Several(Vec<f64>),
}

impl Quantile {
    fn objective(&self) -> Result<Objective> {
        let none = || Error::parameter("quantile", "a number in the range [0, 1] for loss='quantile'", "None");
        match self {
            Self::One(q) => {
                let q = q.ok_or_else(none)?;
                parameter::within("quantile", q, 0.0, 1.0)?;
                Ok(Objective::Quantile(q))
            }
            Self::Several(all) => {
                all.iter().try_for_each(|&q| parameter::within("quantile", q, 0.0, 1.0))?;
                match all[..] {
                    [] => Err(Error::parameter("quantile", "a number or a list with at least one", "[]")),
                    [q] => Ok(Objective::Quantile(q)),
                    _ => Ok(Objective::Quantiles(all.clone())),
                }
            }
        }
    }
}

/// Boosting of trees that put the rows of each query in order (LambdaMART).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct HistGradientBoostingRanker {
    lambdarank_truncation_level: usize,
    lambdarank_norm: bool,
    sigmoid: f64,
    #[serde(flatten)]
    common: Common,
}

impl Default for HistGradientBoostingRanker {
    fn default() -> Self {
        Self { lambdarank_truncation_level: 30, lambdarank_norm: true, sigmoid: 1.0, common: Common::default() }
    }
}

impl HistGradientBoostingRanker {
    fn objective(&self, y: &[f64]) -> Result<Objective> {
        parameter::at_least("lambdarank_truncation_level", self.lambdarank_truncation_level as u64, 1)?;
        parameter::above("sigmoid", self.sigmoid, 0.0)?;
        let ranking =
            Ranking { truncation: self.lambdarank_truncation_level, norm: self.lambdarank_norm, sigmoid: self.sigmoid };
        let objective = Objective::Ranking(ranking);
        objective.check(y)?;
        Ok(objective)
    }
}

impl Estimator for HistGradientBoostingRanker {
    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Fitted>> {
        let Target::Numbers { values, outputs: 1, .. } = &input.y else {
            return Err(Error::value("y should be a 1d array: how relevant each row is"));
        };
        self.common.fit(input, self.objective(values)?, values[..].into(), None)
    }

    fn fit_blocks(&self, input: BlockInput<'_>) -> Result<Box<dyn Fitted>> {
        let objective = self.objective(&input.y.all())?;
        self.common.fit_blocks(input, objective)
    }
}

/// Gradient boosting of regression trees; parameters as scikit-learn's estimator of this name.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct HistGradientBoostingRegressor {
    loss: String,
    quantile: Quantile,
    huber_delta: f64,
    tweedie_power: f64,
    #[serde(flatten)]
    common: Common,
}

impl Default for HistGradientBoostingClassifier {
    fn default() -> Self {
        Self { loss: "log_loss".into(), common: Common::default() }
    }
}

impl Default for HistGradientBoostingRegressor {
    fn default() -> Self {
        Self {
            loss: "squared_error".into(),
            quantile: Quantile::One(None),
            huber_delta: 1.0,
            tweedie_power: 1.5,
            common: Common::default(),
        }
    }
}

impl HistGradientBoostingClassifier {
    fn objective(&self, labels: &Labels) -> Result<Objective> {
        let written = Expression::is_meant(&self.loss).then(|| Expression::parse(&self.loss)).transpose()?;
        if self.loss != OUTSIDE && written.is_none() {
            parameter::one_of("loss", &self.loss, &["log_loss"])?;
        }
        if labels.len() < 2 {
            return Err(Error::value(format!(
                "This estimator needs samples of at least 2 classes in the data, but the data contains only one class: {}",
                labels.name(0)
            )));
        }
        if let Some(loss) = written {
            if labels.len() > 2 {
                return Err(Error::parameter("loss", "'log_loss' or a callable for more than two classes", "text"));
            }
            return Ok(Objective::Expression(loss));
        }
        Ok(match (self.loss.as_str(), labels.len()) {
            (OUTSIDE, 2) => Objective::Outside(1),
            (OUTSIDE, k) => Objective::Outside(k),
            (_, 2) => Objective::Binary,
            (_, k) => Objective::Multiclass(k),
        })
    }
}

impl Estimator for HistGradientBoostingClassifier {
    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Fitted>> {
        let Target::Classes { codes, labels } = &input.y else {
            return Err(Error::Internal("a classifier is fitted without classes".into()));
        };
        let objective = self.objective(labels)?;
        if codes.iter().any(|&c| c as usize >= labels.len()) {
            return Err(Error::Internal("a class that isn't there".into()));
        }
        // The smallest type that keeps them exactly.
        let y = match labels.len() {
            ..=0x100 => Numbers::U8(codes.iter().map(|&c| c as u8).collect()),
            0x101..=0x100_0000 => Numbers::F32(codes.iter().map(|&c| c as f32).collect()),
            _ => Numbers::F64(codes.iter().map(|&c| f64::from(c)).collect()),
        };
        self.common.fit(input, objective, y, Some(labels.clone()))
    }

    fn fit_blocks(&self, input: BlockInput<'_>) -> Result<Box<dyn Fitted>> {
        let labels = input.labels.clone();
        let labels = labels.ok_or_else(|| Error::Internal("a classifier is fitted without classes".into()))?;
        self.common.fit_blocks(input, self.objective(&labels)?)
    }
}

impl HistGradientBoostingRegressor {
    fn objective(&self, y: &[f64]) -> Result<Objective> {
        let objective = match self.loss.as_str() {
            "squared_error" => Objective::SquaredError,
            "absolute_error" => Objective::AbsoluteError,
            "gamma" => Objective::Gamma,
            "poisson" => Objective::Poisson,
            "quantile" => self.quantile.objective()?,
            "cox" => Objective::Cox,
            OUTSIDE => Objective::Outside(1),
            "huber" => {
                parameter::above("huber_delta", self.huber_delta, 0.0)?;
                Objective::Huber(self.huber_delta)
            }
            "tweedie" => {
                if !(self.tweedie_power > 1.0 && self.tweedie_power < 2.0) {
                    return Err(Error::parameter("tweedie_power", "a float in the range (1, 2)", self.tweedie_power));
                }
                Objective::Tweedie(self.tweedie_power)
            }
            "cross_entropy" => Objective::CrossEntropy,
            text if Expression::is_meant(text) => Objective::Expression(Expression::parse(text)?),
            other => {
                let allowed = [
                    "squared_error",
                    "absolute_error",
                    "gamma",
                    "poisson",
                    "quantile",
                    "huber",
                    "tweedie",
                    "cross_entropy",
                    "cox",
                ];
                return parameter::one_of("loss", other, &allowed)
                    .and(Err(Error::Internal("a loss that is allowed but not known".into())));
            }
        };
        objective.check(y)?;
        Ok(objective)
    }
}

impl Estimator for HistGradientBoostingRegressor {
    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Fitted>> {
        let Target::Numbers { values, outputs: 1, .. } = &input.y else {
            return Err(Error::value("y should be a 1d array: this estimator predicts one number"));
        };
        self.common.fit(input, self.objective(values)?, values[..].into(), None)
    }

    fn fit_blocks(&self, input: BlockInput<'_>) -> Result<Box<dyn Fitted>> {
        let objective = self.objective(&input.y.all())?;
        self.common.fit_blocks(input, objective)
    }
}
