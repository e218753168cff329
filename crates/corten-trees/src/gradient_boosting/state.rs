//! Fitted stages as text and back: members, stages one by one and warm starts also after they were pickled.

use corten_core::{Error, Result};
use corten_model::Labels;
use corten_model::estimator::Fitted;

use super::fitted::Boosted;

/// Longest text.
const LONGEST: usize = 1 << 30;

impl Boosted {
    /// The state as text.
    pub(crate) fn write(&self) -> Option<Vec<u8>> {
        serde_json::to_vec(self).ok()
    }

    fn check(&self) -> Result<()> {
        let (outputs, width) = (self.loss.outputs(), self.features);
        let stages = &self.stages;
        hold(outputs > 0 && stages.start.len() == outputs, "its first scores are too many or too few")?;
        if let Some(start) = &self.start {
            start.check(&self.loss, width)?;
        }
        let classes = self.labels.as_ref().map(Labels::len);
        hold(classes.is_none_or(|c| c == outputs.max(2)), "its classes don't fit its scores")?;
        hold(stages.trees.iter().all(|t| t.len() == outputs), "a stage has too many trees or too few")?;
        for tree in stages.trees.iter().flatten() {
            let nodes = &tree.nodes;
            let fits = tree.width == 1 && tree.values.len() == nodes.len() && !nodes.is_empty();
            hold(fits, "a tree's nodes and values don't fit")?;
            for (at, node) in nodes.iter().enumerate() {
                let below = |child: u32| child as usize > at && (child as usize) < nodes.len();
                let is_split = below(node.left) && below(node.right) && (node.feature as usize) < width;
                hold(node.left as usize == at || is_split, "a node's children or column aren't there")?;
            }
        }
        Ok(())
    }
}

fn wrong(problem: &str) -> Error {
    Error::Format(format!("this is no fitted state of gradient boosting: {problem}"))
}

fn hold(condition: bool, problem: &str) -> Result<()> {
    if condition { Ok(()) } else { Err(wrong(problem)) }
}

/// Reads what [`Boosted::write`] wrote.
///
/// # Errors
/// [`Error::Format`] for anything else: all of it is checked before any of it is used.
pub(crate) fn read(bytes: &[u8]) -> Result<Box<dyn Fitted>> {
    if bytes.len() > LONGEST {
        return Err(Error::Limit(format!("a fitted state of more than {LONGEST} bytes")));
    }
    let state: Boosted = serde_json::from_slice(bytes).map_err(|e| wrong(&format!("it can't be read ({e})")))?;
    state.check()?;
    Ok(Box::new(state))
}
