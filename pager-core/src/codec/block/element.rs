//! [`Element`]: the four widths of integers that a vector may have, and their bit
//! packing.
//!
//! The kernels are those of the crate `fastlanes`: loops over 1,024 values with
//! constants for shifts, which the compiler turns into vector instructions for the
//! least processor of the target. Wider instructions bring a fifth to a third and
//! multiply 248 kernels, so there is no choice at run time.

use bytemuck::Pod;
use fastlanes::FoR;

/// Values to a vector. The kernels know no other number.
pub(super) const VECTOR: usize = 1024;

/// Words that a packed vector takes for each bit of its width, whatever the type.
pub(super) const WORDS_PER_BIT: usize = VECTOR / 64;

/// An unsigned integer that vectors are made of.
pub(super) trait Element: Pod + Ord + Default {
    /// Bits it has.
    const BITS: usize;
    /// Bytes it has.
    const BYTES: usize = size_of::<Self>();
    /// Half of its range: added to a signed number, it keeps the order.
    const HALF: Self;

    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    /// Bits that are needed to write it.
    fn bits(self) -> usize;
    fn to_u64(self) -> u64;
    /// The low bits of `word`.
    fn from_u64(word: u64) -> Self;
    /// The number that it is the two's complement of.
    fn to_signed(self) -> i64;
    /// The number whose bits these are, if there are floats of this width.
    fn to_float(self) -> Option<f64>;
    /// The bits of the nearest float of this width.
    fn from_float(float: f64) -> Self;

    /// Packs `plain`, less `reference`, into `width` bits each; higher bits are
    /// cut off. `packed` has [`WORDS_PER_BIT`] words for each bit.
    ///
    /// # Panics
    ///
    /// If `width` is greater than [`BITS`](Self::BITS) or `packed` too short.
    fn pack(width: usize, plain: &[Self; VECTOR], reference: Self, packed: &mut [Self]);

    /// Undoes [`pack`](Self::pack).
    ///
    /// # Panics
    ///
    /// If `width` is greater than [`BITS`](Self::BITS) or `packed` too short.
    fn unpack(width: usize, packed: &[Self], reference: Self, plain: &mut [Self; VECTOR]);
}

macro_rules! element {
    ($type:ident, $to_float:expr, $from_float:expr, [$($width:literal)*]) => {
        impl Element for $type {
            const BITS: usize = Self::BITS as usize;
            const HALF: Self = 1 << (Self::BITS - 1);

            fn add(self, other: Self) -> Self {
                self.wrapping_add(other)
            }

            fn sub(self, other: Self) -> Self {
                self.wrapping_sub(other)
            }

            fn bits(self) -> usize {
                (Self::BITS - self.leading_zeros()) as usize
            }

            fn to_u64(self) -> u64 {
                self.into()
            }

            #[allow(clippy::cast_possible_truncation, reason = "the low bits are meant")]
            fn from_u64(word: u64) -> Self {
                word as Self
            }

            fn to_signed(self) -> i64 {
                self.cast_signed().into()
            }

            fn to_float(self) -> Option<f64> {
                $to_float(self)
            }

            fn from_float(float: f64) -> Self {
                $from_float(float)
            }

            fn pack(width: usize, plain: &[Self; VECTOR], reference: Self, packed: &mut [Self]) {
                match width {
                    $($width => {
                        const LEN: usize = VECTOR * $width / 8 / size_of::<$type>();
                        let packed = packed.first_chunk_mut::<LEN>().expect(ROOM);
                        <Self as FoR>::for_pack::<$width, LEN>(plain, reference, packed);
                    })*
                    _ => panic!("no value has so many bits"),
                }
            }

            fn unpack(width: usize, packed: &[Self], reference: Self, plain: &mut [Self; VECTOR]) {
                match width {
                    $($width => {
                        const LEN: usize = VECTOR * $width / 8 / size_of::<$type>();
                        let packed = packed.first_chunk::<LEN>().expect(ROOM);
                        <Self as FoR>::unfor_pack::<$width, LEN>(packed, reference, plain);
                    })*
                    _ => panic!("no value has so many bits"),
                }
            }
        }
    };
}

const ROOM: &str = "the caller has seen to the length of the packed values";

element!(u8, |_| None, |_| 0, [0 1 2 3 4 5 6 7 8]);
element!(u16, |_| None, |_| 0, [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16]);
element!(
    u32, |bits| Some(f64::from(f32::from_bits(bits))), single_bits,
    [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32]
);
element!(
    u64, |bits| Some(f64::from_bits(bits)), f64::to_bits,
    [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32
     33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62
     63 64]
);

#[allow(clippy::cast_possible_truncation, reason = "the nearest one is meant")]
fn single_bits(float: f64) -> u32 {
    (float as f32).to_bits()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_width_packs<T: Element + std::fmt::Debug>() {
        for width in 0..=T::BITS {
            let mask = if width == 0 {
                0
            } else {
                u64::MAX >> (64 - width)
            };
            let plain: [T; VECTOR] = std::array::from_fn(|at| {
                T::from_u64((at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) & mask)
                    .add(T::from_u64(7))
            });
            let mut packed = vec![T::default(); VECTOR * width / T::BITS];
            T::pack(width, &plain, T::from_u64(7), &mut packed);
            let mut back = [T::default(); VECTOR];
            T::unpack(width, &packed, T::from_u64(7), &mut back);
            assert_eq!(plain, back, "{width} bits");
            assert_eq!(size_of_val(&packed[..]), WORDS_PER_BIT * 8 * width);
        }
    }

    #[test]
    fn values_of_every_width_come_back() {
        every_width_packs::<u8>();
        every_width_packs::<u16>();
        every_width_packs::<u32>();
        every_width_packs::<u64>();
    }
}
