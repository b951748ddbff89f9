//! Blocks of the codec: rubbish that is decoded, and bytes that are encoded, damaged
//! and decoded.
//!
//! A decoder may refuse what it is given. It may not panic, nor yield another number of
//! bytes than it was asked for, nor other bytes than went in where nothing was damaged.

use arbitrary::{Arbitrary, Result, Unstructured};
use pager_core::codec::Scheme;
use pager_core::codec::block::{Damaged, ElementWidth, MAX_BLOCK_BYTES, Scratch, decode, encode};

/// What is done with the rest of the input.
#[derive(Debug, Arbitrary)]
enum Scene {
    /// It is a stored block that is to decode to so many bytes.
    Decode { plain_len: u16 },
    /// It is repeated, encoded, perhaps damaged, and decoded.
    Encode {
        scheme: u8,
        width: u8,
        times: u16,
        step: u64,
        damage: Option<(u16, u64)>,
    },
}

/// Plays one input.
///
/// # Panics
///
/// If a decoder did what it may not.
pub fn run(input: &[u8]) {
    let mut input = Unstructured::new(input);
    // An input that ends too soon makes no scene.
    let _ = play(&mut input);
}

fn play(input: &mut Unstructured<'_>) -> Result<()> {
    let mut scratch = Scratch::new();
    let scene = Scene::arbitrary(input)?;
    let ends = <(u16, u16)>::arbitrary(input)?;
    let rest = input.bytes(input.len())?;
    match scene {
        Scene::Decode { plain_len } => {
            let mut stored: Vec<u64> = rest
                .chunks(8)
                .map(|bytes| {
                    let mut word = [0; 8];
                    word[..bytes.len()].copy_from_slice(bytes);
                    u64::from_le_bytes(word)
                })
                .collect();
            let plain_len = usize::from(plain_len);
            // The length is what a fuzzer would find last.
            if let Some(first) = stored.first_mut() {
                *first = *first & 0xFFFF_FFFF | (plain_len as u64) << 32;
            }
            let _ = decoded(&stored, plain_len, ends, &mut scratch);
        }
        Scene::Encode {
            scheme,
            width,
            times,
            step,
            damage,
        } => {
            let scheme = Scheme::ALL[usize::from(scheme) % Scheme::ALL.len()];
            let width = ElementWidth::ALL[usize::from(width) % ElementWidth::ALL.len()];
            let plain = repeated(rest, times, step);
            let mut stored = encode(scheme, width, &plain, &mut scratch).to_vec();
            if let Some((place, mask)) = damage {
                let place = usize::from(place) % stored.len();
                stored[place] ^= mask;
                let _ = decoded(&stored, plain.len(), ends, &mut scratch);
                stored[place] ^= mask;
            }
            let (range, bytes) = decoded(&stored, plain.len(), ends, &mut scratch)
                .expect("what was encoded decodes");
            assert!(bytes == plain[range], "{scheme} gave other bytes back");
        }
    }
    Ok(())
}

/// The bytes over and over, each time as much larger as `step` says.
fn repeated(bytes: &[u8], times: u16, step: u64) -> Vec<u8> {
    let mut plain: Vec<u8> = Vec::new();
    for time in 0..=u64::from(times) {
        let added = step.wrapping_mul(time).to_le_bytes();
        let moved = bytes.iter().zip(added.iter().cycle());
        plain.extend(moved.map(|(byte, more)| byte.wrapping_add(*more)));
        if plain.len() >= MAX_BLOCK_BYTES || bytes.is_empty() {
            break;
        }
    }
    plain.truncate(MAX_BLOCK_BYTES);
    plain
}

/// The range that `ends` stand for, and the bytes of it.
fn decoded(
    stored: &[u64],
    plain_len: usize,
    ends: (u16, u16),
    scratch: &mut Scratch,
) -> Result<(std::ops::Range<usize>, Vec<u8>), Damaged> {
    let place = |end: u16| usize::from(end) % (plain_len + 1);
    let (low, high) = (place(ends.0), place(ends.1));
    let range = low.min(high)..low.max(high);
    let mut bytes = Vec::new();
    decode(stored, plain_len, range.clone(), scratch, &mut |piece| {
        bytes.extend_from_slice(piece);
    })?;
    assert_eq!(bytes.len(), range.len(), "as many as were asked for");
    Ok((range, bytes))
}
