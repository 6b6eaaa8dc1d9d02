//! Lists of things of which several conditions hold, each condition with an index of its own.

use std::ops::Bound;

/// The next thing of which all facets are true, from `start` on: each facet in its turn skips to where the one before is,
/// so that what few facets have in common is found without looking at what each has. `next_of` names the next thing of
/// one facet; without facets nothing is found.
pub(crate) fn intersect<'a, F, I: Ord + Clone>(
    facets: &[F],
    mut start: Bound<I>,
    next_of: impl Fn(&F, &Bound<I>) -> Option<&'a I>,
) -> Option<&'a I> {
    let mut agreed = 0;
    let mut found: Option<&I> = None;
    for facet in facets.iter().cycle() {
        let next = next_of(facet, &start)?;
        if found == Some(next) {
            agreed += 1;
        } else {
            agreed = 1;
            found = Some(next);
            start = Bound::Included(next.clone());
        }
        if agreed == facets.len() {
            return found;
        }
    }
    None
}

/// The bound of a set that is sorted by something before the thing itself.
pub(crate) fn bound<I: Clone, K>(
    start: &Bound<I>,
    lowest: impl FnOnce() -> I,
    key: impl FnOnce(I) -> K,
) -> Bound<K> {
    match start {
        Bound::Unbounded => Bound::Included(key(lowest())),
        Bound::Included(thing) => Bound::Included(key(thing.clone())),
        Bound::Excluded(thing) => Bound::Excluded(key(thing.clone())),
    }
}
