//! Ensembles that are coded when they are first needed: a fit whose model is never run, or whose trees are only looked
//! at, doesn't pay for it.

#[cfg(feature = "std")]
mod made {
    use std::sync::{Mutex, OnceLock, PoisonError};

    use alloc::boxed::Box;
    use core::fmt;

    use super::super::Inner;

    type Make = Box<dyn FnOnce() -> Inner + Send>;

    /// See the module.
    pub(in super::super) struct Lazy {
        made: OnceLock<Inner>,
        make: Mutex<Option<Make>>,
    }

    impl Lazy {
        pub(in super::super) fn of(inner: Inner) -> Self {
            Self { made: OnceLock::from(inner), make: Mutex::new(None) }
        }

        pub(in super::super) fn later(make: impl FnOnce() -> Inner + Send + 'static) -> Self {
            Self { made: OnceLock::new(), make: Mutex::new(Some(Box::new(make))) }
        }

        /// The ensemble; the first call makes it.
        pub(in super::super) fn get(&self) -> &Inner {
            self.made.get_or_init(|| {
                let make = self.make.lock().unwrap_or_else(PoisonError::into_inner).take();
                make.unwrap_or_else(|| unreachable!("what isn't made yet can be made"))()
            })
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
    use super::super::Inner;

    /// See the module; without locks nothing is left for later.
    #[derive(Debug)]
    pub(in super::super) struct Lazy(Inner);

    impl Lazy {
        pub(in super::super) fn of(inner: Inner) -> Self {
            Self(inner)
        }

        pub(in super::super) fn later(make: impl FnOnce() -> Inner + Send + 'static) -> Self {
            Self(make())
        }

        pub(in super::super) fn get(&self) -> &Inner {
            &self.0
        }
    }
}

pub(super) use made::Lazy;

use alloc::sync::Arc;

use corten_core::Result;
use corten_kernels::trees::{CATEGORY, MAX_THRESHOLDS};

use super::spec::TreesSpec;
use super::{Inner, Trees};

impl Trees {
    /// Codes an ensemble when it is first needed, where its size leaves no doubt that it can be: of so many nodes in all,
    /// which only compare numbers with thresholds, none of them NaN, and whose children follow them.
    ///
    /// # Errors
    /// Those of [`Trees::build`], for what is in doubt.
    pub fn later(
        features: u32,
        outputs: u32,
        nodes: usize,
        spec: impl FnOnce() -> TreesSpec + Send + 'static,
    ) -> Result<Self> {
        // Some nodes more fill up cache lines; a feature has a column for each of four rules at most.
        let most = nodes.saturating_mul(4).saturating_mul(outputs.max(1) as usize);
        let columns = 4 * (features as usize + nodes / MAX_THRESHOLDS);
        if most > u32::MAX as usize / 2 || columns >= CATEGORY as usize {
            return Self::build(spec());
        }
        let make = move || match Inner::build(spec()) {
            Ok(inner) => inner,
            Err(error) => unreachable!("trees that were grown can be coded: {error}"),
        };
        Ok(Self { features, outputs, inner: Arc::new(Lazy::later(make)) })
    }
}
