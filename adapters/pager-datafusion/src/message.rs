//! [`Message`]: where one message of Arrow's IPC stream ends and the next begins.
//!
//! A message says how long it is: a mark and the length of what describes it, then in that
//! description the length of its body. What does not begin with that mark is somebody's own
//! format; it is cut into [pieces](PIECE_BYTES), and so is all that follows.

/// What every message begins with: `0xffff_ffff`, and the length of its description.
const PREFIX_BYTES: usize = 8;

const MARK: [u8; 4] = [0xff; 4];

/// The most that a description may be, before it is taken for something else.
const MOST_DESCRIBED_BYTES: usize = 256 << 20;

/// How bytes are cut that are no messages.
pub(crate) const PIECE_BYTES: usize = 128 << 10;

/// What is known of the message that is being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Message {
    /// Nothing yet: its first bytes are awaited.
    #[default]
    Begun,
    /// How much of it there must be to know how long it is.
    Described(usize),
    /// How long it is.
    Whole(usize),
    /// It is none, and there will be none.
    Foreign,
}

impl Message {
    /// How many bytes of it are wanted next, altogether.
    pub(crate) fn wanted_bytes(self) -> usize {
        match self {
            Self::Begun => PREFIX_BYTES,
            Self::Described(bytes) | Self::Whole(bytes) => bytes,
            Self::Foreign => PIECE_BYTES,
        }
    }

    /// Whether it is complete once it has as much as is wanted.
    pub(crate) fn is_known(self) -> bool {
        matches!(self, Self::Whole(_) | Self::Foreign)
    }

    /// Whether what there is of it, `bytes`, can be the beginning of a message.
    pub(crate) fn may_begin_with(self, bytes: &[u8]) -> bool {
        self != Self::Foreign && bytes.iter().zip(&MARK).all(|(byte, mark)| byte == mark)
    }

    /// What is known once `bytes`, as many as were wanted, are there.
    pub(crate) fn seen(self, bytes: &[u8]) -> Self {
        match self {
            Self::Begun => Self::of_prefix(bytes),
            Self::Described(_) => Self::of_description(bytes).unwrap_or(Self::Foreign),
            known => known,
        }
    }

    /// What comes after it.
    pub(crate) fn next(self) -> Self {
        match self {
            Self::Foreign => Self::Foreign,
            _ => Self::Begun,
        }
    }

    fn of_prefix(bytes: &[u8]) -> Self {
        let Some((&mark, rest)) = bytes.split_first_chunk() else {
            return Self::Begun;
        };
        let described_bytes = rest.first_chunk().copied().map_or(0, u32::from_le_bytes);
        match usize::try_from(described_bytes) {
            _ if mark != MARK => Self::Foreign,
            // The end of the stream.
            Ok(0) => Self::Whole(PREFIX_BYTES),
            Ok(bytes) if bytes <= MOST_DESCRIBED_BYTES => Self::Described(PREFIX_BYTES + bytes),
            _ => Self::Foreign,
        }
    }

    fn of_description(bytes: &[u8]) -> Option<Self> {
        let message = arrow_ipc::root_as_message(bytes.get(PREFIX_BYTES..)?).ok()?;
        let body_bytes = usize::try_from(message.bodyLength()).ok()?;
        Some(Self::Whole(bytes.len().checked_add(body_bytes)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_ends_is_a_message_of_eight_bytes() {
        let end = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
        assert_eq!(Message::Begun.seen(&end), Message::Whole(8));
        assert_eq!(Message::Whole(8).next(), Message::Begun);
    }

    #[test]
    fn what_is_no_message_is_cut_into_pieces_for_good() {
        let foreign = Message::Begun.seen(b"PAR1....");
        assert_eq!(foreign, Message::Foreign);
        assert_eq!(foreign.wanted_bytes(), PIECE_BYTES);
        assert_eq!(foreign.next(), Message::Foreign);
        assert!(Message::Begun.may_begin_with(&[0xff]));
        assert!(!Message::Begun.may_begin_with(b"P"));
        assert!(!foreign.may_begin_with(&[0xff]));
        let absurd = Message::Begun.seen(&[0xff; 8]);
        assert_eq!(absurd, Message::Foreign);
        let undescribed = [&[0xff, 0xff, 0xff, 0xff, 16, 0, 0, 0][..], &[7; 16]].concat();
        let described = Message::Begun.seen(&undescribed[..8]);
        assert_eq!(described, Message::Described(24));
        assert_eq!(described.seen(&undescribed), Message::Foreign);
    }
}
