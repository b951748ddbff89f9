//! Dictionaries: blocks of few distinct values, which are numbered.
//!
//! ```text
//! entries  the distinct values, in the order in which they came
//! codes    for each vector, 1,024 numbers of as many bits as the last one has
//! ```

use std::ops::Range;

use super::element::{Element, VECTOR, WORDS_PER_BIT};
use super::{
    Damaged, ElementWidth, Header, Kind, Scratch, WORD_BYTES, load, overlap, put_bytes,
    split_elements,
};

/// Most entries: a code is a byte.
const MAX_ENTRIES: usize = 256;

/// Places of the hash table; four times the entries, so that most are found at
/// once.
const PLACES: usize = 4 * MAX_ENTRIES;

/// The values that have been seen, and their codes.
pub(super) struct Table {
    /// Code by place, plus one; zero where there is none.
    codes: [u16; PLACES],
    /// Value by code.
    entries: [u64; MAX_ENTRIES],
    len: usize,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            codes: [0; PLACES],
            entries: [0; MAX_ENTRIES],
            len: 0,
        }
    }
}

impl Table {
    fn clear(&mut self) {
        self.codes.fill(0);
        self.len = 0;
    }

    /// The code of `value`, a new one if it has none; `None` when there are no
    /// more.
    fn code(&mut self, value: u64) -> Option<u8> {
        // The high bits of a product depend on all bits of the value.
        let hash = value.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (u64::BITS - PLACES.ilog2());
        let mut place = usize::try_from(hash).unwrap_or(0) % PLACES;
        loop {
            match self.codes[place] {
                0 => break,
                code if self.entries[usize::from(code - 1) % MAX_ENTRIES] == value => {
                    return u8::try_from(code - 1).ok();
                }
                _ => place = (place + 1) % PLACES,
            }
        }
        let code = u8::try_from(self.len).ok()?;
        self.entries[self.len] = value;
        self.len += 1;
        self.codes[place] = u16::from(code) + 1;
        Some(code)
    }
}

/// Encodes a block with a dictionary, and says how many words it has; `None` if
/// there are too many values, or if their numbers are as long as they are.
pub(super) fn encode<T: Element>(plain: &[u8], scratch: &mut Scratch) -> Option<usize> {
    if T::BYTES == 1 {
        return None;
    }
    let (elements, odd) = split_elements::<T>(plain);
    let Scratch {
        out,
        plain: copy,
        table,
        ..
    } = scratch;
    table.clear();
    // The codes of all vectors, behind one another: a block has at most 32 Ki
    // elements of two bytes.
    let vectors = elements.len().div_ceil(VECTOR * T::BYTES);
    let mut all_codes = [0u8; super::MAX_BLOCK_BYTES / 2];
    let vector_bytes = elements.chunks(VECTOR * T::BYTES);
    for (bytes, codes) in vector_bytes.zip(all_codes.as_chunks_mut::<VECTOR>().0) {
        let vector = load::<T>(bytes, copy);
        for (code, value) in codes.iter_mut().zip(vector) {
            *code = table.code(value.to_u64())?;
        }
    }
    let count = u16::try_from(table.len).ok().filter(|&count| count > 0)?;
    let header = Header {
        kind: Kind::Dictionary,
        width: ElementWidth::of_bytes(T::BYTES)?,
        count,
        plain_len: plain.len(),
    };
    let layout = Layout::of::<T>(header);
    out[0] = header.to_word();
    let (entries, rest) = out[1..].split_at_mut(layout.entry_words);
    write_entries::<T>(&table.entries[..table.len], entries);
    let (packed, rest) = rest.split_at_mut(layout.code_words * vectors);
    if layout.width > 0 {
        let packed = packed.chunks_exact_mut(layout.code_words);
        for (packed, codes) in packed.zip(all_codes.as_chunks::<VECTOR>().0) {
            u8::pack(layout.width, codes, 0, bytemuck::cast_slice_mut(packed));
        }
    }
    let odd_words = odd.len().div_ceil(WORD_BYTES);
    put_bytes(&mut rest[..odd_words], odd);
    Some(1 + layout.entry_words + layout.code_words * vectors + odd_words)
}

fn write_entries<T: Element>(entries: &[u64], words: &mut [u64]) {
    words.fill(0);
    let to = bytemuck::cast_slice_mut::<u64, T>(words);
    for (to, entry) in to.iter_mut().zip(entries) {
        *to = T::from_u64(*entry);
    }
}

/// How long the parts of a block with a dictionary are.
struct Layout {
    entry_words: usize,
    /// Bits of a code.
    width: usize,
    /// Words of the codes of a vector.
    code_words: usize,
}

impl Layout {
    fn of<T: Element>(header: Header) -> Self {
        let count = usize::from(header.count);
        let width = (count.saturating_sub(1) as u64).bits();
        Self {
            entry_words: (count * T::BYTES).div_ceil(WORD_BYTES),
            width,
            code_words: WORDS_PER_BIT * width,
        }
    }
}

/// Yields bytes `range` of a block with a dictionary.
pub(super) fn decode<T: Element>(
    body: &[u64],
    header: Header,
    range: Range<usize>,
    scratch: &mut Scratch,
    sink: &mut dyn FnMut(&[u8]),
) -> Result<(), Damaged> {
    let count = usize::from(header.count);
    if count == 0 || count > MAX_ENTRIES {
        return Err(Damaged::new("its dictionary has no possible length"));
    }
    let layout = Layout::of::<T>(header);
    let odd_len = header.plain_len % T::BYTES;
    let elements_len = header.plain_len - odd_len;
    let vector_len = VECTOR * T::BYTES;
    let vectors = elements_len.div_ceil(vector_len);
    let (entries, rest) = body.split_at_checked(layout.entry_words).ok_or(SHORT)?;
    let (packed, odd) = rest
        .split_at_checked(layout.code_words * vectors)
        .ok_or(SHORT)?;
    if odd.len() != odd_len.div_ceil(WORD_BYTES) {
        return Err(SHORT);
    }
    // As long as there are codes, so that every code has a value.
    let mut values = [T::default(); MAX_ENTRIES];
    values[..count].copy_from_slice(&bytemuck::cast_slice::<u64, T>(entries)[..count]);
    for index in 0..vectors {
        let start = index * vector_len;
        let wanted = overlap(&range, start..elements_len.min(start + vector_len));
        if wanted.is_empty() {
            continue;
        }
        let packed = &packed[layout.code_words * index..][..layout.code_words];
        let mut codes = [0; VECTOR];
        u8::unpack(layout.width, bytemuck::cast_slice(packed), 0, &mut codes);
        let vector = super::as_vector_mut::<T>(&mut scratch.plain);
        for (element, code) in vector.iter_mut().zip(codes) {
            *element = values[usize::from(code)];
        }
        sink(&bytemuck::cast_slice(vector)[wanted]);
    }
    sink(&bytemuck::cast_slice(odd)[overlap(&range, elements_len..header.plain_len)]);
    Ok(())
}

const SHORT: Damaged = Damaged::new("its codes have another length than its elements");
