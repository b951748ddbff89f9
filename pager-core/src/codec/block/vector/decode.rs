//! One vector, decoded.

use super::encode::from_decimal;
use super::{Descriptor, Mode, POWERS};
use crate::codec::block::Damaged;
use crate::codec::block::element::{Element, VECTOR};

/// Decodes into `vector` what `descriptor` says of `data`, which is as long as that
/// says.
pub(super) fn decode<T: Element>(
    descriptor: &Descriptor,
    data: &[u64],
    vector: &mut [T; VECTOR],
) -> Result<(), Damaged> {
    let (base, data) = data.split_at(descriptor.base_words());
    let (packed, data) = data.split_at(descriptor.packed_words());
    let reference = T::from_u64(descriptor.reference);
    T::unpack(
        descriptor.width,
        bytemuck::cast_slice(packed),
        reference,
        vector,
    );
    match descriptor.mode {
        Mode::Values => patch(descriptor, data, vector, |residue| reference.add(residue)),
        Mode::Differences => {
            patch(descriptor, data, vector, |residue| reference.add(residue))?;
            let mut last = T::from_u64(base[0]);
            for element in vector {
                last = last.add(*element);
                *element = last;
            }
            Ok(())
        }
        Mode::Decimals => {
            let power = POWERS[descriptor.exponent];
            for element in &mut *vector {
                *element = from_decimal(*element, power);
            }
            patch(descriptor, data, vector, |bits| bits)
        }
    }
}

/// Puts the exceptions into their places.
fn patch<T: Element>(
    descriptor: &Descriptor,
    data: &[u64],
    vector: &mut [T; VECTOR],
    value: impl Fn(T) -> T,
) -> Result<(), Damaged> {
    let (place_words, _) = descriptor.exception_words();
    let (places, values) = data.split_at(place_words);
    let places = &bytemuck::cast_slice::<u64, u16>(places)[..descriptor.exceptions];
    let values: &[u8] = bytemuck::cast_slice(values);
    let bytes = descriptor.exception_bytes;
    for (place, value_bytes) in places.iter().zip(values.chunks_exact(bytes)) {
        let element = vector
            .get_mut(usize::from(*place))
            .ok_or(Damaged::new("an exception has no place"))?;
        let mut word = [0; 8];
        word[..bytes].copy_from_slice(value_bytes);
        *element = value(T::from_u64(u64::from_le_bytes(word)));
    }
    Ok(())
}
