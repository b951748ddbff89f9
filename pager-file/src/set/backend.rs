//! [`FileSet`] as a [`Backend`]: every method of one, forwarded to the directory that a
//! slot names.

use std::borrow::Cow;
use std::io;
use std::ops::Range;

use pager_core::{
    Backend, Error, Payload, Preferences, Result, SizeClass, TransferMemory, Usage, Window,
};

use super::under_way::UnderWay;
use super::{FileSet, FileSetSlot};
use crate::{BACKEND, FileBackend};

impl Backend for FileSet {
    type Slot = FileSetSlot;

    fn name(&self) -> &'static str {
        BACKEND
    }

    fn page_out(&self, payload: &mut Payload<'_>) -> Result<FileSetSlot> {
        let bytes = SizeClass::for_bytes(payload.len_bytes()).bytes() as u64;
        let reservation = match payload.is_empty() {
            true => None,
            false => Some(self.quota.reserve(bytes)?),
        };
        let stored = match self.alone() {
            Some(backend) => FileSetSlot {
                member: 0,
                slot: backend.page_out(payload)?,
            },
            None if !self.owner.is_current() => return Err(Error::ForeignProcess),
            None => self.page_out_somewhere(payload)?,
        };
        if let Some(reservation) = reservation {
            reservation.keep();
            // A mode may round less than what was reserved.
            self.quota
                .give_back(bytes.saturating_sub(self.stored_bytes(&stored)));
        }
        Ok(stored)
    }

    fn read(
        &self,
        slot: &FileSetSlot,
        ranges: &[Range<usize>],
        window: &mut Window<'_>,
    ) -> Result<()> {
        let Some(backend) = self.backend_of(slot) else {
            return Err(Error::Io {
                backend: BACKEND,
                operation: "read",
                path: None,
                source: io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "the slot is of another backend",
                ),
            });
        };
        if self.alone().is_some() {
            return backend.read(&slot.slot, ranges, window);
        }
        if !self.owner.is_current() {
            return Err(Error::ForeignProcess);
        }
        let bytes = window.remaining_bytes() as u64;
        let transfer = self.lock().begin(self.now(), slot.member as usize, bytes);
        let under_way = UnderWay::new(self, transfer);
        let read = backend.read(&slot.slot, ranges, window);
        match &read {
            Ok(()) => under_way.moved(),
            // What fails to read will hardly take more; what came back wrong may.
            Err(error @ Error::Io { .. }) => under_way.failed(error),
            Err(_) => drop(under_way),
        }
        read
    }

    fn prefetch(&self, slot: &FileSetSlot, range: Range<usize>) {
        if let Some(backend) = self.backend_of(slot) {
            backend.prefetch(&slot.slot, range);
        }
    }

    fn free(&self, slot: FileSetSlot) {
        let Some(backend) = self.backend_of(&slot) else {
            // Another backend's, whose directory reclaims it.
            return;
        };
        let bytes = backend.stored_bytes(&slot.slot);
        backend.free(slot.slot);
        if self.owner.is_current() {
            self.quota.give_back(bytes);
            if self.alone().is_none() {
                self.lock().freed(slot.member as usize, bytes);
            }
        }
    }

    fn usage(&self) -> Usage {
        let mut usages = self.backends().map(Backend::usage);
        let mut sum = usages.next().unwrap_or_default();
        for usage in usages {
            sum.logical_bytes += usage.logical_bytes;
            sum.resident_bytes += usage.resident_bytes;
            sum.stored_bytes += usage.stored_bytes;
            sum.unreclaimable_bytes += usage.unreclaimable_bytes;
            if usage.how != sum.how {
                sum.how = Cow::Borrowed("several directories, in several ways: see each");
            }
        }
        sum
    }

    fn attach(&self, memory: &TransferMemory) {
        self.backends().for_each(|backend| backend.attach(memory));
    }

    fn preferences(&self) -> Preferences {
        let mut preferences = self
            .backends()
            .next()
            .map_or_else(Preferences::default, Backend::preferences);
        // So many for each device.
        preferences.writes_at_a_time *= self.backends().len().max(1);
        preferences
    }

    fn slot_bytes(&self, slot: &FileSetSlot) -> usize {
        self.backend_of(slot)
            .map_or(0, |backend| FileBackend::slot_bytes(backend, &slot.slot))
    }

    fn stored_bytes(&self, slot: &FileSetSlot) -> u64 {
        self.backend_of(slot)
            .map_or(0, |backend| backend.stored_bytes(&slot.slot))
    }
}
