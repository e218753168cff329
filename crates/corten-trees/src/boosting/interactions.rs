//! Which columns a path may use together.

/// Which features may meet on a path from the root to a leaf.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Interactions {
    Any,
    /// At most so many different ones.
    UpTo(usize),
    /// Those of one of the groups.
    Groups(Vec<Vec<usize>>),
}

impl Interactions {
    /// Leaves only columns that may follow those of a path.
    pub(super) fn limit(&self, path: &[usize], allowed: &mut [bool]) {
        let keep = |allowed: &mut [bool], may: &dyn Fn(usize) -> bool| {
            for (column, a) in allowed.iter_mut().enumerate() {
                *a &= may(column);
            }
        };
        match self {
            Self::Any => {}
            Self::UpTo(most) if path.len() < *most => {}
            Self::UpTo(_) => keep(allowed, &|f| path.contains(&f)),
            Self::Groups(groups) => {
                let open: Vec<&Vec<usize>> = groups.iter().filter(|g| path.iter().all(|f| g.contains(f))).collect();
                keep(allowed, &|f| open.iter().any(|g| g.contains(&f)));
            }
        }
    }
}
