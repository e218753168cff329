//! Ensembles that are coded when it pays: a fit whose model is never run, or whose trees are only looked at, doesn't pay
//! for it, and few rows are scored by the trees as they were grown.

#[cfg(feature = "std")]
mod made {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, OnceLock, PoisonError, RwLock};

    use core::fmt;

    use super::super::Inner;
    use super::{Grown, code};

    /// See the module.
    pub(in super::super) struct Lazy {
        made: OnceLock<Inner>,
        /// Until it is made.
        grown: RwLock<Option<Arc<dyn Grown>>>,
        /// Rows that are scored before.
        before: usize,
        rows: AtomicUsize,
    }

    impl Lazy {
        pub(in super::super) fn of(inner: Inner) -> Self {
            Self { made: OnceLock::from(inner), grown: RwLock::new(None), before: 0, rows: AtomicUsize::new(0) }
        }

        pub(in super::super) fn later(grown: impl Grown + 'static, before: usize) -> Self {
            Self { made: OnceLock::new(), grown: RwLock::new(Some(Arc::new(grown))), before, rows: AtomicUsize::new(0) }
        }

        /// The ensemble; the first call makes it.
        pub(in super::super) fn get(&self) -> &Inner {
            self.made.get_or_init(|| {
                let grown = self.grown.write().unwrap_or_else(PoisonError::into_inner).take();
                code(&*grown.unwrap_or_else(|| unreachable!("what isn't made yet can be made")))
            })
        }

        /// Tells that rows are going to be scored; from then on the ensemble is made where there were enough of them.
        pub(in super::super) fn expect(&self, rows: usize) {
            if self.made.get().is_none()
                && self.rows.fetch_add(rows, Ordering::Relaxed).saturating_add(rows) > self.before
            {
                self.get();
            }
        }

        /// The trees as they were grown, until the ensemble is made.
        pub(in super::super) fn grown(&self) -> Option<Arc<dyn Grown>> {
            if self.made.get().is_some() {
                return None;
            }
            self.grown.read().unwrap_or_else(PoisonError::into_inner).clone()
        }
    }

    impl fmt::Debug for Lazy {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_tuple("Lazy").field(&self.made).finish()
        }
    }
}

#[cfg(not(feature = "std"))]
mod made {
    use alloc::sync::Arc;

    use super::super::Inner;
    use super::{Grown, code};

    /// See the module; without locks nothing is left for later.
    #[derive(Debug)]
    pub(in super::super) struct Lazy(Inner);

    impl Lazy {
        pub(in super::super) fn of(inner: Inner) -> Self {
            Self(inner)
        }

        pub(in super::super) fn later(grown: impl Grown, _: usize) -> Self {
            Self(code(&grown))
        }

        pub(in super::super) fn get(&self) -> &Inner {
            &self.0
        }

        pub(in super::super) fn expect(&self, _: usize) {}

        pub(in super::super) fn grown(&self) -> Option<Arc<dyn Grown>> {
            None
        }
    }
}

pub(super) use made::Lazy;

use alloc::sync::Arc;

use corten_core::Result;
use corten_kernels::trees::{CATEGORY, MAX_THRESHOLDS};

use super::source::TreeSource;
use super::spec::TreesSpec;
use super::{Inner, Trees};

/// Nodes below which coding takes so little that no row is scored before.
const FEW: usize = 1 << 16;
/// Rows that are scored before for each node of a tree.
const ROWS_A_NODE: usize = 2;

/// Trees as they were grown.
pub trait Grown: TreeSource + Send {
    /// All but the trees themselves.
    fn spec(&self) -> TreesSpec;

    /// The answers to some rows: the bits that the coded ensemble gives.
    ///
    /// Shapes: `rows` has as many numbers a row as there are features; `out[k * stride + r]` is output `k` of row `r`.
    fn score(&self, rows: &[f64], out: &mut [f64], stride: usize);
}

fn code(grown: &dyn Grown) -> Inner {
    match Inner::build(&grown.spec(), grown) {
        Ok(inner) => inner,
        Err(error) => unreachable!("trees that were grown can be coded: {error}"),
    }
}

impl Trees {
    /// Codes an ensemble when it pays, where its size leaves no doubt that it can be: of some trees of so many nodes in all,
    /// which only compare numbers with thresholds, none of them NaN, and whose children follow them.
    ///
    /// # Errors
    /// Those of [`Trees::build`], for what is in doubt.
    pub fn later(features: u32, outputs: u32, trees: usize, nodes: usize, grown: impl Grown + 'static) -> Result<Self> {
        // Some nodes more fill up cache lines; a feature has a column for each of four rules at most.
        let most = nodes.saturating_mul(4).saturating_mul(outputs.max(1) as usize);
        let columns = 4 * (features as usize + nodes / MAX_THRESHOLDS);
        if most > u32::MAX as usize / 2 || columns >= CATEGORY as usize {
            return Self::build_from(&grown.spec(), &grown);
        }
        // By then rows have lost in trees that are not coded about what coding them takes.
        let before = if nodes < FEW { 0 } else { ROWS_A_NODE * nodes / trees.max(1) };
        Ok(Self { features, outputs, inner: Arc::new(Lazy::later(grown, before)) })
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use alloc::borrow::Cow;

    use super::super::spec::Tree;
    use super::*;

    /// One leaf; scoring it as it was grown shows.
    struct Leaf;

    impl TreeSource for Leaf {
        fn count(&self) -> usize {
            1
        }

        fn nodes(&self, _: usize) -> usize {
            1
        }

        fn tree(&self, _: usize) -> Cow<'_, Tree> {
            let mut tree = Tree::new(None);
            tree.push_leaf(&[1.0]);
            Cow::Owned(tree)
        }
    }

    impl Grown for Leaf {
        fn spec(&self) -> TreesSpec {
            TreesSpec::new(2, 1)
        }

        fn score(&self, rows: &[f64], out: &mut [f64], _: usize) {
            rows.chunks_exact(2).zip(out).for_each(|(_, y)| *y = 2.0);
        }
    }

    /// Few rows are scored before; then the ensemble is coded, also for whoever asks for it.
    #[test]
    fn many_rows_or_nodes_are_coded() {
        let large = || Trees::later(2, 1, 4, FEW, Leaf).unwrap();
        let before = ROWS_A_NODE * FEW / 4;
        let trees = large();
        trees.inner.expect(before - 1);
        trees.inner.expect(1);
        let grown = trees.inner.grown().expect("not coded yet");
        let mut out = [0.0; 2];
        grown.score(&[0.0; 4], &mut out, 2);
        assert_eq!(out, [2.0; 2]);
        trees.inner.expect(1);
        assert!(trees.inner.grown().is_none());
        let trees = large();
        assert_eq!(trees.len(), 1);
        assert!(trees.inner.grown().is_none(), "asking codes");
        let small = Trees::later(2, 1, 4, FEW - 1, Leaf).unwrap();
        small.inner.expect(1);
        assert!(small.inner.grown().is_none(), "few nodes are coded at once");
    }
}
