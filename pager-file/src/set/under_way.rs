//! [`UnderWay`]: a transfer that is counted in its directory until it ends, if only by a
//! panic of the backend.

use std::error::Error as _;

use pager_core::{Error, observe};

use super::FileSet;
use super::loads::{Loads, Transfer};

/// A transfer; one that nobody ends has told nothing.
#[must_use]
pub(super) struct UnderWay<'a> {
    set: &'a FileSet,
    transfer: Option<Transfer>,
}

impl<'a> UnderWay<'a> {
    pub(super) fn new(set: &'a FileSet, transfer: Transfer) -> Self {
        Self {
            set,
            transfer: Some(transfer),
        }
    }

    /// A payload is stored.
    pub(super) fn paged_out(self) {
        let now = self.set.now();
        self.end(|loads, transfer| loads.paged_out(now, transfer));
    }

    /// Bytes were read.
    pub(super) fn moved(self) {
        let now = self.set.now();
        self.end(|loads, transfer| {
            loads.moved(now, transfer);
        });
    }

    /// It failed, and the directory is left out for a while.
    pub(super) fn failed(self, error: &Error) {
        let now = self.set.now();
        let cause = error.source().map(|cause| format!(": {cause}"));
        let text = format!("{error}{}", cause.unwrap_or_default());
        let is_full = error.is_out_of_space();
        if let Some(transfer) = &self.transfer {
            let directory = self.set.members[transfer.member].backend.directory();
            let state = if is_full { "full" } else { "failing" };
            observe::directory(directory, state, || text.clone());
        }
        self.end(|loads, transfer| loads.failed(now, transfer, is_full, text));
    }

    fn end(mut self, tell: impl FnOnce(&mut Loads, &Transfer)) {
        if let Some(transfer) = self.transfer.take() {
            tell(&mut self.set.lock(), &transfer);
        }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if let Some(transfer) = self.transfer.take() {
            let now = self.set.now();
            self.set.lock().ended(now, &transfer);
        }
    }
}
