//! One vector, encoded: which numbers to pack, and what does not fit.

use super::frame::{Frame, Places, find};
use super::{Descriptor, Mode, POWERS, exception_words};
use crate::codec::Scheme;
use crate::codec::block::as_vector_mut;
use crate::codec::block::element::{Element, VECTOR};

/// Elements that are looked at to find the exponent of decimals.
const PROBES: usize = 32;

/// Added to a float below a quarter of it and taken away again, it rounds that to
/// a whole number: 1.5 times 2 to the 52.
const ROUNDER: f64 = 6_755_399_441_055_744.0;

/// Encodes `vector` into the front of `out`.
pub(super) fn encode<T: Element>(
    scheme: Scheme,
    vector: &[T; VECTOR],
    shifted: &mut [u64; VECTOR],
    out: &mut [u64],
) -> Descriptor {
    let shifted = as_vector_mut::<T>(shifted);
    match scheme {
        Scheme::Delta => differences(vector, shifted, out),
        Scheme::Decimal => decimals(vector, shifted, out),
        Scheme::Patch => {
            let mut places = [0; VECTOR];
            let plan = Plan::new(Mode::Values, Frame::most(vector, &mut places));
            plan.write(vector, None, &places, out)
        }
        _ => values(vector, shifted, out),
    }
}

/// What is going to be written.
struct Plan<T> {
    mode: Mode,
    frame: Frame<T>,
    /// Added to every number beforehand, to be taken away from the reference.
    bias: T,
}

impl<T: Element> Plan<T> {
    fn new(mode: Mode, frame: Frame<T>) -> Self {
        Self {
            mode,
            frame,
            bias: T::default(),
        }
    }

    fn biased(mode: Mode, frame: Frame<T>) -> Self {
        Self {
            bias: T::HALF,
            ..Self::new(mode, frame)
        }
    }

    /// Writes `numbers`, which the frame was made for, and the exceptions in their
    /// `places`.
    fn write(
        self,
        numbers: &[T; VECTOR],
        base: Option<T>,
        places: &Places,
        out: &mut [u64],
    ) -> Descriptor {
        let Frame {
            reference, width, ..
        } = self.frame;
        let descriptor = Descriptor {
            mode: self.mode,
            width,
            exception_bytes: self.frame.exception_bytes,
            exponent: 0,
            exceptions: self.frame.exceptions,
            reference: reference.sub(self.bias).to_u64(),
        };
        let (head, out) = out.split_at_mut(usize::from(base.is_some()));
        if let Some(base) = base {
            head[0] = base.to_u64();
        }
        let (packed, out) = out.split_at_mut(descriptor.packed_words());
        T::pack(width, numbers, reference, bytemuck::cast_slice_mut(packed));
        if descriptor.exceptions > 0 {
            let places = &places[..descriptor.exceptions];
            write_exceptions(&descriptor, out, places, |at| {
                numbers[at].sub(reference).to_u64()
            });
        }
        descriptor
    }
}

/// The elements as they are, taken for signed ones where that is narrower.
fn values<T: Element>(
    vector: &[T; VECTOR],
    shifted: &mut [T; VECTOR],
    out: &mut [u64],
) -> Descriptor {
    let frame = Frame::all(vector);
    if frame.width == T::BITS {
        for (to, from) in shifted.iter_mut().zip(vector) {
            *to = from.add(T::HALF);
        }
        let signed = Frame::all(shifted);
        if signed.width < frame.width {
            return Plan::biased(Mode::Values, signed).write(shifted, None, &[0; VECTOR], out);
        }
    }
    Plan::new(Mode::Values, frame).write(vector, None, &[0; VECTOR], out)
}

/// Each element less the one before, or the elements, whichever is shorter.
fn differences<T: Element>(
    vector: &[T; VECTOR],
    shifted: &mut [T; VECTOR],
    out: &mut [u64],
) -> Descriptor {
    for at in 1..VECTOR {
        shifted[at] = vector[at].sub(vector[at - 1]).add(T::HALF);
    }
    // The first difference is free, for the value before the first is.
    shifted[0] = shifted[1];
    let mut places = [0; VECTOR];
    let frame = Frame::most(shifted, &mut places);
    if Frame::least_words(vector) <= frame.words() && Frame::all(vector).words() <= frame.words() {
        return values(vector, shifted, out);
    }
    let base = vector[0].sub(shifted[0].sub(T::HALF));
    Plan::biased(Mode::Differences, frame).write(shifted, Some(base), &places, out)
}

/// Floats as whole numbers of the smallest decimal place, or as they are.
fn decimals<T: Element>(
    vector: &[T; VECTOR],
    shifted: &mut [T; VECTOR],
    out: &mut [u64],
) -> Descriptor {
    let Some(exponent) = exponent_of(vector) else {
        return values(vector, shifted, out);
    };
    let power = POWERS[exponent];
    let mut last = T::HALF;
    let mut odd = [false; VECTOR];
    for at in 0..VECTOR {
        match to_decimal(vector[at], power) {
            Some(number) => last = number,
            None => odd[at] = true,
        }
        // What is odd is not looked at, so it may be what is packed best.
        shifted[at] = last;
    }
    if let Some(first) = odd.iter().position(|&odd| !odd) {
        let number = shifted[first];
        shifted[..first].fill(number);
    }
    let mut places = [0; VECTOR];
    let count = find(&mut places, |at| odd[at]);
    let frame = Frame::all(shifted);
    let (place_words, value_words) = exception_words(count, T::BYTES);
    if frame.words() + place_words + value_words >= Frame::all(vector).words() {
        return values(vector, shifted, out);
    }
    let packed = Plan::biased(Mode::Decimals, frame).write(shifted, None, &[0; VECTOR], out);
    let descriptor = Descriptor {
        exponent,
        exceptions: count,
        exception_bytes: T::BYTES,
        ..packed
    };
    let out = &mut out[descriptor.packed_words()..];
    write_exceptions(&descriptor, out, &places[..count], |at| vector[at].to_u64());
    descriptor
}

/// The least exponent with which nearly all of a few elements are whole.
fn exponent_of<T: Element>(vector: &[T; VECTOR]) -> Option<usize> {
    // Small integers look like floats next to zero, with which processors take a
    // hundred times as long.
    let is_tiny = |at: &usize| {
        vector[*at]
            .to_float()
            .is_none_or(|float| float.is_subnormal())
    };
    let probes = || (0..VECTOR).step_by(VECTOR / PROBES);
    if probes().filter(is_tiny).count() > PROBES / 8 {
        return None;
    }
    (0..POWERS.len()).find(|&exponent| {
        let whole = |at: &usize| to_decimal(vector[*at], POWERS[exponent]).is_some();
        let count = probes().filter(whole).count();
        count >= PROBES - PROBES / 8
    })
}

/// The float of these bits, times `power`, with a bias, if that gives the very
/// float back.
fn to_decimal<T: Element>(bits: T, power: f64) -> Option<T> {
    let float = bits.to_float()?;
    let whole = (float * power + ROUNDER) - ROUNDER;
    #[allow(
        clippy::cast_possible_truncation,
        reason = "what does not fit does not come back either"
    )]
    let number = T::from_u64((whole as i64).cast_unsigned());
    (from_decimal(number, power) == bits).then(|| number.add(T::HALF))
}

/// The bits of this number's float, divided by `power`.
pub(super) fn from_decimal<T: Element>(number: T, power: f64) -> T {
    #[allow(clippy::cast_precision_loss, reason = "compared when it was encoded")]
    let whole = number.to_signed() as f64;
    T::from_float(whole / power)
}

fn write_exceptions(
    descriptor: &Descriptor,
    out: &mut [u64],
    places: &[u16],
    value: impl Fn(usize) -> u64,
) {
    let (place_words, value_words) = descriptor.exception_words();
    let (to_places, out) = out.split_at_mut(place_words);
    super::put_bytes(to_places, bytemuck::cast_slice(places));
    let to_values = &mut out[..value_words];
    if let Some(last) = to_values.last_mut() {
        *last = 0;
    }
    let to_values: &mut [u8] = bytemuck::cast_slice_mut(to_values);
    let bytes = descriptor.exception_bytes;
    for (to, place) in to_values.chunks_exact_mut(bytes).zip(places) {
        to.copy_from_slice(&value(usize::from(*place)).to_le_bytes()[..bytes]);
    }
}
