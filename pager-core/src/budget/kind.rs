//! [`Kind`]: what memory is held for.

/// What memory is held for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// A payload, or a part of one, that is in memory only.
    Dirty,
    /// A copy of what is stored.
    Clean,
    /// A copy that read-ahead brought and nobody has used.
    ReadAhead,
    /// An empty buffer, kept because it is warm.
    Spare,
    /// A buffer that a transfer uses.
    Transfer,
    /// A buffer that waits for the next transfer.
    Idle,
    /// What a backend works in besides the buffers of its transfers.
    Workspace,
    /// What is remembered of a payload, wherever its bytes are.
    Bookkeeping,
    /// A payload that is in memory only, encoded.
    Encoded,
    /// The end of a spill that is being written, or a part of one that is being read.
    Spill,
}

impl Kind {
    pub(super) const COUNT: usize = Self::Spill as usize + 1;

    /// Whether it counts as used, and the limit is its limit.
    pub(super) fn is_used(self) -> bool {
        matches!(
            self,
            Self::Dirty | Self::Clean | Self::ReadAhead | Self::Spare | Self::Encoded
        )
    }

    /// The kind with this number, of those below [`COUNT`](Self::COUNT).
    pub(super) fn of_number(number: u64) -> Self {
        match number {
            0 => Self::Dirty,
            1 => Self::Clean,
            2 => Self::ReadAhead,
            3 => Self::Spare,
            4 => Self::Transfer,
            5 => Self::Idle,
            6 => Self::Workspace,
            7 => Self::Bookkeeping,
            8 => Self::Encoded,
            _ => Self::Spill,
        }
    }
}
