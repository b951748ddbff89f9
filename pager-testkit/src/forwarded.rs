//! What a wrapper of the kit leaves to the backend in its field `inner`, written once.
//!
//! A wrapper that forgets a method is told so by a lint (`missing_trait_methods`).

/// The methods of `Backend` that move no bytes, forwarded.
macro_rules! forwarded {
    () => {
        fn prefetch(&self, slot: &B::Slot, range: Range<usize>) {
            self.inner.prefetch(slot, range);
        }

        fn free(&self, slot: B::Slot) {
            self.inner.free(slot);
        }

        fn usage(&self) -> Usage {
            self.inner.usage()
        }

        fn stored_bytes(&self, slot: &B::Slot) -> u64 {
            self.inner.stored_bytes(slot)
        }

        fn in_place(&self) -> Option<&dyn InPlace<Slot = B::Slot>> {
            self.inner.in_place()
        }

        fn attach(&self, memory: &TransferMemory) {
            self.inner.attach(memory);
        }

        fn preferences(&self) -> Preferences {
            self.inner.preferences()
        }

        fn slot_bytes(&self, slot: &B::Slot) -> usize {
            self.inner.slot_bytes(slot)
        }
    };
}

pub(crate) use forwarded;
