//! [`Pieces`]: which parts of a stored payload are in memory, or on their way there.
//!
//! Pieces are apart from each other and in order. There is one as a rule (a copy of
//! the whole), and many where windows of a large payload are read.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use smallvec::SmallVec;

use super::flight::Flight;
use super::memory::Resident;
use crate::budget::{Kind, WeakPageable};
use crate::memory::Window;

/// The bytes `range` of a payload.
pub(super) struct Piece {
    pub(super) range: Range<usize>,
    pub(super) place: PiecePlace,
}

/// Where a piece is.
pub(super) enum PiecePlace {
    /// In the queue of fetches, under this turn.
    Queued(u64),
    /// On its way.
    Coming(Arc<Flight>),
    /// In memory.
    Here(Arc<Resident>),
}

impl Piece {
    /// Whether there is memory for it, and room.
    fn has_memory(&self) -> bool {
        !matches!(self.place, PiecePlace::Queued(_))
    }
}

/// The parts of one payload that are in memory or will be.
#[derive(Default)]
pub(super) struct Pieces(Vec<Piece>);

/// What of some ranges is in memory.
pub(super) enum Coverage {
    /// All of it.
    Here(Held),
    /// All of it will be, when this has landed.
    Coming(Arc<Flight>),
    /// Something is not, but some is or will be.
    Partly,
    /// Nothing is.
    Missing,
}

/// Pieces in memory, in order, which nobody can drop meanwhile.
#[derive(Default)]
pub(super) struct Held(SmallVec<[(Range<usize>, Arc<Resident>); 1]>);

impl Held {
    /// All of a payload of `len` bytes.
    pub(super) fn whole(len: usize, resident: Arc<Resident>) -> Self {
        Self(SmallVec::from_iter([(0..len, resident)]))
    }

    /// Whether some of it is in memory of the backend's own, and is read through it.
    pub(super) fn is_mapped(&self) -> bool {
        self.0
            .iter()
            .any(|(_, resident)| resident.memory().is_mapped())
    }

    /// Copies `wanted`, all of which is here, into `window`.
    pub(super) fn copy(&self, wanted: &Range<usize>, window: &mut Window<'_>) {
        for (range, resident) in &self.0 {
            let (start, end) = (wanted.start.max(range.start), wanted.end.min(range.end));
            if start < end {
                let part = start - range.start..end - range.start;
                resident.memory().copy(&part, window);
            }
        }
    }

    /// Whether it is one piece.
    pub(super) fn is_single(&self) -> bool {
        self.0.len() == 1
    }

    pub(super) fn residents(&self) -> impl Iterator<Item = (usize, &Arc<Resident>)> {
        self.0
            .iter()
            .map(|(range, resident)| (range.start, resident))
    }
}

impl Pieces {
    /// A copy of all of a payload of `len` bytes.
    pub(super) fn whole(len: usize, resident: Arc<Resident>) -> Self {
        let place = PiecePlace::Here(resident);
        Self(vec![Piece {
            range: 0..len,
            place,
        }])
    }

    /// What of `ranges` is in memory. Logarithmic in the number of pieces for each.
    pub(super) fn cover(&self, ranges: &[Range<usize>]) -> Coverage {
        let mut coming = None;
        let mut held = Held::default();
        let mut is_missing = false;
        for wanted in ranges.iter().filter(|range| !range.is_empty()) {
            let mut at = wanted.start;
            for piece in &self.0[self.first_reaching(at)..] {
                if piece.range.start >= wanted.end {
                    break;
                }
                is_missing |= piece.range.start > at;
                match &piece.place {
                    PiecePlace::Here(resident) => held.add(&piece.range, resident),
                    PiecePlace::Coming(flight) => coming = Some(Arc::clone(flight)),
                    PiecePlace::Queued(_) => is_missing = true,
                }
                at = piece.range.end;
            }
            is_missing |= at < wanted.end;
        }
        match coming {
            Some(flight) if !is_missing => Coverage::Coming(flight),
            None if !is_missing => Coverage::Here(held),
            None if held.0.is_empty() => Coverage::Missing,
            _ => Coverage::Partly,
        }
    }

    /// The parts of `wanted` that are neither here nor coming nor queued.
    pub(super) fn gaps(&self, wanted: &Range<usize>) -> SmallVec<[Range<usize>; 1]> {
        self.gaps_between(wanted, |_| true)
    }

    /// The parts of `wanted` that are neither here nor coming: what is queued has no memory yet.
    pub(super) fn unheld(&self, wanted: &Range<usize>) -> SmallVec<[Range<usize>; 1]> {
        self.gaps_between(wanted, Piece::has_memory)
    }

    fn gaps_between(
        &self,
        wanted: &Range<usize>,
        counts: impl Fn(&Piece) -> bool,
    ) -> SmallVec<[Range<usize>; 1]> {
        let mut gaps = SmallVec::new();
        let mut at = wanted.start;
        for piece in self.0[self.first_reaching(at)..]
            .iter()
            .filter(|it| counts(it))
        {
            if piece.range.start >= wanted.end {
                break;
            }
            if at < piece.range.start {
                gaps.push(at..piece.range.start);
            }
            at = piece.range.end;
        }
        if at < wanted.end {
            gaps.push(at..wanted.end);
        }
        gaps
    }

    /// Whether some of `range` is queued, or on its way.
    pub(super) fn is_coming(&self, range: &Range<usize>) -> bool {
        self.0[self.first_reaching(range.start)..]
            .iter()
            .take_while(|piece| piece.range.start < range.end)
            .any(|piece| !matches!(piece.place, PiecePlace::Here(_)))
    }

    /// What is [unheld](Self::unheld) around `gap`, in a payload of `len` bytes.
    pub(super) fn around(&self, gap: &Range<usize>, len: usize) -> Range<usize> {
        let (before, after) = self.0.split_at(self.first_reaching(gap.start));
        let before = before.iter().rfind(|piece| piece.has_memory());
        let after = after.iter().find(|piece| piece.has_memory());
        before.map_or(0, |piece| piece.range.end)..after.map_or(len, |piece| piece.range.start)
    }

    /// Adds a piece in a gap.
    pub(super) fn insert(&mut self, range: Range<usize>, place: PiecePlace) {
        let at = self.first_reaching(range.start);
        self.0.insert(at, Piece { range, place });
    }

    /// The piece that begins at byte `start`.
    pub(super) fn at(&mut self, start: usize) -> Option<&mut Piece> {
        let at = self
            .0
            .binary_search_by_key(&start, |piece| piece.range.start);
        at.ok().map(|at| &mut self.0[at])
    }

    /// The piece that is queued under `turn`.
    pub(super) fn queued(&mut self, turn: u64) -> Option<&mut Piece> {
        let is_it =
            |piece: &&mut Piece| matches!(piece.place, PiecePlace::Queued(of) if of == turn);
        self.0.iter_mut().find(is_it)
    }

    /// Removes the piece that begins at byte `start`.
    pub(super) fn remove(&mut self, start: usize) -> Option<Piece> {
        let at = self
            .0
            .binary_search_by_key(&start, |piece| piece.range.start);
        let removed = at.ok().map(|at| self.0.remove(at));
        // What is gone costs nothing.
        if self.0.len() <= self.0.capacity() / 4 {
            self.0.shrink_to_fit();
        }
        removed
    }

    /// Removes what begins at byte `start`, if it is in memory.
    pub(super) fn remove_here(&mut self, start: usize) -> Option<Arc<Resident>> {
        match self.at(start)?.place {
            PiecePlace::Here(_) => match self.remove(start)?.place {
                PiecePlace::Here(resident) => Some(resident),
                _ => None,
            },
            _ => None,
        }
    }

    /// Lists everything that is in memory as what may leave it.
    pub(super) fn list_all(&self, owner: &WeakPageable) {
        for piece in &self.0 {
            if let PiecePlace::Here(resident) = &piece.place {
                let start = piece.range.start;
                resident.charge().list(owner.clone(), start, false);
            }
        }
    }

    /// Removes what is queued and lies within one of `ranges`, and returns the turns.
    pub(super) fn cancel_within(&mut self, ranges: &[Range<usize>]) -> SmallVec<[u64; 4]> {
        let mut turns = SmallVec::new();
        self.0.retain(|piece| match piece.place {
            PiecePlace::Queued(turn)
                if ranges.iter().any(|range| contains(range, &piece.range)) =>
            {
                turns.push(turn);
                false
            }
            _ => true,
        });
        turns
    }

    /// Whether anything is here that read-ahead brought and nobody has used.
    pub(super) fn unused_count(&self) -> usize {
        let is_unused = |piece: &&Piece| {
            matches!(&piece.place,
                PiecePlace::Here(resident) if resident.charge().kind() == Kind::ReadAhead)
        };
        self.0.iter().filter(is_unused).count()
    }

    /// The first piece that ends after byte `at`.
    fn first_reaching(&self, at: usize) -> usize {
        self.0.partition_point(|piece| piece.range.end <= at)
    }
}

impl Held {
    fn add(&mut self, range: &Range<usize>, resident: &Arc<Resident>) {
        let at = self.0.partition_point(|(held, _)| held.start < range.start);
        if self.0.get(at).is_none_or(|(held, _)| held != range) {
            self.0.insert(at, (range.clone(), Arc::clone(resident)));
        }
    }
}

fn contains(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

impl fmt::Debug for Pieces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |piece: &Piece| match piece.place {
            PiecePlace::Queued(_) => (piece.range.clone(), "queued"),
            PiecePlace::Coming(_) => (piece.range.clone(), "coming"),
            PiecePlace::Here(_) => (piece.range.clone(), "here"),
        };
        f.debug_list().entries(self.0.iter().map(shown)).finish()
    }
}

#[cfg(all(test, not(pager_shuttle)))]
#[expect(
    clippy::single_range_in_vec_init,
    reason = "lists of ranges, some of one"
)]
mod tests {
    use super::*;

    /// Pieces queued at these ranges, each under its start as its turn.
    fn queued(ranges: &[Range<usize>]) -> Pieces {
        let mut pieces = Pieces::default();
        for range in ranges {
            pieces.insert(range.clone(), PiecePlace::Queued(range.start as u64));
        }
        pieces
    }

    #[test]
    fn gaps_are_what_no_piece_covers() {
        let pieces = queued(&[20..30, 10..15, 30..40]);
        let gaps = |range: Range<usize>| pieces.gaps(&range).into_vec();
        assert_eq!(gaps(0..50), [0..10, 15..20, 40..50]);
        assert_eq!(gaps(12..35), [15..20]);
        assert_eq!(gaps(20..40), []);
        assert_eq!(gaps(22..23), []);
        assert_eq!(gaps(50..60), [50..60]);
        assert_eq!(gaps(5..5), []);
    }

    #[test]
    fn what_is_queued_has_no_memory_yet() {
        let mut pieces = queued(&[0..20, 40..50]);
        for range in [20..25, 30..40] {
            pieces.insert(range, PiecePlace::Coming(Arc::default()));
        }
        assert_eq!(pieces.gaps(&(0..60)).into_vec(), [25..30, 50..60]);
        let unheld = |range: Range<usize>| pieces.unheld(&range).into_vec();
        assert_eq!(unheld(0..60), [0..20, 25..30, 40..60]);
        assert_eq!(unheld(5..10), std::slice::from_ref(&(5..10)));
        assert_eq!(unheld(22..38), std::slice::from_ref(&(25..30)));
        let around = |gap: Range<usize>| pieces.around(&gap, 60);
        assert_eq!(around(5..10), 0..20);
        assert_eq!(around(26..27), 25..30);
        assert_eq!(around(45..46), 40..60);
        assert_eq!(Pieces::default().around(&(3..4), 50), 0..50);
    }

    #[test]
    fn what_is_queued_within_a_read_is_cancelled_and_the_rest_is_not() {
        let mut pieces = queued(&[0..10, 10..20, 20..30]);
        let turns = pieces.cancel_within(&[5..25, 25..30]);
        assert_eq!(turns.into_vec(), [10]);
        assert!(pieces.at(10).is_none() && pieces.at(20).is_some());
        assert!(pieces.queued(0).is_some());
    }

    #[test]
    fn what_is_coming_is_waited_for_only_if_nothing_else_is_missing() {
        let mut pieces = queued(&[20..30]);
        pieces.insert(0..20, PiecePlace::Coming(Arc::default()));
        let covered = |ranges: &[Range<usize>]| match pieces.cover(ranges) {
            Coverage::Here(_) => "here",
            Coverage::Coming(_) => "coming",
            Coverage::Partly => "partly",
            Coverage::Missing => "missing",
        };
        assert_eq!(covered(&[3..5, 4..20]), "coming");
        assert_eq!(covered(&[3..5, 4..21]), "partly");
        assert_eq!(covered(&[21..22, 50..60]), "missing");
        assert_eq!(covered(&[7..7]), "here");
        assert_eq!(covered(&[40..41]), "missing");
    }
}
