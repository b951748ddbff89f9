//! [`fingerprint`]: what can be told of elements at a glance.

use super::element::Element;
use super::{ElementWidth, split_elements};

/// Elements that are looked at.
const GLANCES: usize = 192;

/// A number that is the same for elements that will probably encode alike: by how many
/// bits they differ, how many neighbours differ by and whether they do, how many are
/// distinct, and how large they are.
pub(in crate::codec) fn fingerprint(width: ElementWidth, sample: &[u8]) -> u64 {
    with_element!(width, of_elements(sample))
}

fn of_elements<T: Element>(sample: &[u8]) -> u64 {
    let (elements, _) = split_elements::<T>(sample);
    let count = elements.len() / T::BYTES;
    let at = |index: usize| -> T {
        bytemuck::pod_read_unaligned(&elements[index * T::BYTES..][..T::BYTES])
    };
    if count < 2 {
        return 0;
    }
    let glances = GLANCES.min(count - 1);
    let (mut least, mut most) = (at(0), at(0));
    let mut steps = [0u8; GLANCES];
    let mut seen = [0u64; 4];
    let mut repeats = 0u64;
    for (glance, step) in steps[..glances].iter_mut().enumerate() {
        let index = 1 + glance * (count - 1) / glances;
        let element = at(index);
        let difference = element.sub(at(index - 1));
        least = least.min(element);
        most = most.max(element);
        let negative = T::default().sub(difference);
        let bits = difference.bits().min(negative.bits());
        *step = u8::try_from(bits).unwrap_or(u8::MAX);
        repeats += u64::from(bits == 0);
        let hash = element.to_u64().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56;
        let place = usize::try_from(hash).unwrap_or(0);
        seen[place / 64] |= 1 << (place % 64);
    }
    let (_, middle, _) = steps[..glances].select_nth_unstable(glances / 2);
    let distinct: u64 = seen.iter().map(|bits| u64::from(bits.count_ones())).sum();
    let parts = [
        T::BYTES as u64,
        most.sub(least).bits() as u64,
        u64::from(*middle),
        repeats / 32,
        // Few are told apart, many are all alike.
        if distinct < 16 {
            distinct
        } else {
            16 + distinct / 32
        },
        most.bits() as u64 / 4,
    ];
    parts.into_iter().fold(0, |key, part| key << 8 | part)
}
