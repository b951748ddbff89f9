//! What goes in comes out, whatever it is; and what never went in is refused.

use super::*;
use proptest::prelude::*;

fn decoded(
    stored: &[u64],
    plain_len: usize,
    range: Range<usize>,
    scratch: &mut Scratch,
) -> Result<Vec<u8>, Damaged> {
    let mut bytes = Vec::new();
    decode(stored, plain_len, range, scratch, &mut |piece| {
        bytes.extend_from_slice(piece);
    })?;
    Ok(bytes)
}

#[track_caller]
fn comes_back(scheme: Scheme, width: ElementWidth, plain: &[u8]) -> usize {
    let mut scratch = Scratch::new();
    let stored = encode(scheme, width, plain, &mut scratch).to_vec();
    assert!(stored.len() <= 1 + plain.len().div_ceil(8), "it grew");
    let all = decoded(&stored, plain.len(), 0..plain.len(), &mut scratch);
    assert!(all.as_deref() == Ok(plain), "{scheme} {width:?}");
    let middle = plain.len() / 3..plain.len() / 3 * 2;
    let part = decoded(&stored, plain.len(), middle.clone(), &mut scratch);
    assert!(part.as_deref() == Ok(&plain[middle]), "{scheme} {width:?}");
    stored.len()
}

fn words(of: impl Fn(u64) -> u64) -> Vec<u8> {
    (0..2048).flat_map(|at| of(at).to_le_bytes()).collect()
}

fn random(at: u64) -> u64 {
    let mixed = at.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ mixed >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9) ^ mixed >> 32
}

/// Words of the block that these words become.
fn stored(scheme: Scheme, of: impl Fn(u64) -> u64) -> usize {
    comes_back(scheme, ElementWidth::Eight, &words(of))
}

#[test]
fn a_constant_takes_no_bits() {
    assert_eq!(stored(Scheme::Pack, |_| u64::MAX), 1 + 2 * 2);
}

#[test]
fn numbers_of_one_magnitude_take_the_bits_they_differ_in() {
    let near = |at| (1 << 50) + random(at) % 1000;
    assert_eq!(stored(Scheme::Pack, near), 1 + 2 * (2 + 16 * 10));
}

#[test]
fn signed_numbers_around_zero_are_near_each_other() {
    let around = |at| (random(at) % 1000).wrapping_sub(500);
    assert_eq!(stored(Scheme::Pack, around), 1 + 2 * (2 + 16 * 10));
}

#[test]
fn a_few_outliers_do_not_widen_the_others() {
    let outlying = |at| match at % 100 {
        7 => random(at),
        _ => (1 << 40) + random(at) % 16,
    };
    assert!(stored(Scheme::Patch, outlying) < stored(Scheme::Pack, outlying) / 5);
    let below = |at| {
        if at % 500 == 7 {
            3
        } else {
            (1 << 40) + random(at) % 16
        }
    };
    assert!(stored(Scheme::Patch, below) < stored(Scheme::Pack, below) / 5);
}

#[test]
fn what_ascends_takes_the_bits_of_its_steps() {
    let keys = |at: u64| at / 4 + at / 32 * 24;
    assert!(stored(Scheme::Delta, keys) < stored(Scheme::Pack, keys) / 3);
    let descending = |at: u64| 5_000_000 - at * 7;
    assert!(stored(Scheme::Delta, descending) < 20);
}

#[test]
fn a_run_costs_its_end() {
    let runs = |at: u64| random(at / 200);
    assert!(stored(Scheme::Delta, runs) < 50);
}

#[test]
fn few_distinct_values_take_the_bits_of_their_number() {
    let words = stored(Scheme::Dictionary, |at| random(random(at) % 7));
    assert_eq!(words, 1 + 7 + 2 * 16 * 3);
    let many = |at| (1 << 20) + random(at) % 300;
    assert_eq!(stored(Scheme::Dictionary, many), stored(Scheme::Pack, many));
}

#[test]
fn prices_take_the_bits_of_their_cents() {
    #[allow(clippy::cast_precision_loss, reason = "small numbers")]
    let price = |at| ((random(at) % 1_000_000) as f64 / 100.0).to_bits();
    assert!(stored(Scheme::Decimal, price) <= 1 + 2 * (2 + 16 * 20));
    let odd = |at| match at % 64 {
        3 => f64::NAN.to_bits(),
        9 => (-0.0f64).to_bits(),
        21 => f64::INFINITY.to_bits(),
        40 => std::f64::consts::PI.to_bits(),
        _ => price(at),
    };
    assert!(stored(Scheme::Decimal, odd) <= 1 + 2 * (2 + 16 * 20 + 5 * 64));
    let singles: Vec<u8> = (0..4096u64)
        .flat_map(|at| ((random(at) % 1000) as f32 / 10.0).to_le_bytes())
        .collect();
    assert!(comes_back(Scheme::Decimal, ElementWidth::Four, &singles) <= 1 + 4 * (2 + 16 * 10));
}

#[test]
fn text_is_left_to_general_codecs() {
    let text = "what does not shrink as numbers may shrink as bytes; ".repeat(100);
    let words = comes_back(Scheme::Lz4, ElementWidth::One, text.as_bytes());
    assert!(words < text.len() / 8 / 10, "{words}");
    let words = comes_back(Scheme::Zstd, ElementWidth::One, text.as_bytes());
    assert_eq!(
        words < text.len() / 8 / 10,
        Scheme::Zstd.is_enabled(),
        "{words}"
    );
}

#[test]
fn what_is_random_is_stored_as_it_is() {
    for scheme in Scheme::ALL {
        assert_eq!(stored(scheme, random), 1 + 2048, "{scheme}");
    }
}

#[test]
fn every_length_comes_back() {
    let plain: Vec<u8> = (0..9000)
        .flat_map(|at| (at % 1000u64).to_le_bytes())
        .collect();
    for scheme in Scheme::ALL {
        for width in ElementWidth::ALL {
            for len in [
                0,
                1,
                7,
                8,
                9,
                1023,
                1024,
                8191,
                8192,
                8195,
                16 << 10,
                64 << 10,
            ] {
                comes_back(scheme, width, &plain[..len]);
                // From an odd place, where no element lies aligned.
                comes_back(scheme, width, &plain[3..3 + len]);
            }
        }
    }
}

#[test]
fn a_block_for_another_length_is_refused() {
    let mut scratch = Scratch::new();
    let stored = encode(
        Scheme::Pack,
        ElementWidth::Eight,
        &words(|at| at),
        &mut scratch,
    )
    .to_vec();
    assert!(decoded(&stored, 2047 * 8, 0..8, &mut scratch).is_err());
    assert!(decoded(&[], 8, 0..8, &mut scratch).is_err());
}

fn any_scheme() -> impl Strategy<Value = Scheme> {
    proptest::sample::select(&Scheme::ALL[..])
}

fn any_width() -> impl Strategy<Value = ElementWidth> {
    proptest::sample::select(&ElementWidth::ALL[..])
}

/// Elements of 8 bytes that one scheme or another makes something of, cut anywhere.
fn any_plain() -> impl Strategy<Value = Vec<u8>> {
    let element = (0..64u32, any::<u64>(), 0..3u64, 0..40u64);
    (element, 0..20_000usize, 0..8usize).prop_map(|((shift, base, step, outliers), len, odd)| {
        let bytes = (0..2600).flat_map(|at| {
            let noise = random(base ^ at);
            let value = match outliers {
                1.. if noise % 64 < outliers => noise,
                _ => base.wrapping_add(noise >> shift).wrapping_add(at * step),
            };
            value.to_le_bytes()
        });
        bytes.skip(odd).take(len).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 4 } else { 256 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn anything_comes_back(
        scheme in any_scheme(),
        width in any_width(),
        plain in any_plain(),
        ends in (0.0..=1.0f64, 0.0..=1.0f64),
    ) {
        comes_back(scheme, width, &plain);
        let mut scratch = Scratch::new();
        let stored = encode(scheme, width, &plain, &mut scratch).to_vec();
        #[allow(
            clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss,
            reason = "a share of a small length"
        )]
        let at = |share: f64| (share * plain.len() as f64) as usize;
        let range = at(ends.0.min(ends.1))..at(ends.0.max(ends.1));
        let part = decoded(&stored, plain.len(), range.clone(), &mut scratch);
        prop_assert!(part.as_deref() == Ok(&plain[range]));
    }

    #[test]
    fn rubbish_is_refused_or_yields_what_was_asked_for(
        mut stored in prop::collection::vec(any::<u64>(), 1..600),
        kind in 1..=5u8,
        width in any_width(),
        plain_len in 0..=MAX_BLOCK_BYTES,
        tame in any::<bool>(),
    ) {
        let header = [kind, u8::try_from(width.bytes()).unwrap(), 3, 0];
        stored[0] = u64::from(u32::from_le_bytes(header)) | (plain_len as u64) << 32;
        if tame {
            // Descriptors that may pass.
            for word in stored.iter_mut().skip(1).step_by(2) {
                *word &= 0x03FF_0F08_0F01;
            }
        }
        let bytes = decoded(&stored, plain_len, 0..plain_len, &mut Scratch::new());
        if let Ok(bytes) = bytes {
            prop_assert_eq!(bytes.len(), plain_len);
        }
    }

    #[test]
    fn damage_is_refused_or_yields_what_was_asked_for(
        scheme in any_scheme(),
        width in any_width(),
        plain in any_plain(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u64>()), 1..4),
        cut in any::<prop::sample::Index>(),
        cuts in any::<bool>(),
    ) {
        let mut scratch = Scratch::new();
        let mut stored = encode(scheme, width, &plain, &mut scratch).to_vec();
        for (place, mask) in damage {
            *place.get_mut(&mut stored) ^= mask;
        }
        if cuts {
            let len = cut.index(stored.len());
            stored.truncate(len);
        }
        let bytes = decoded(&stored, plain.len(), 0..plain.len(), &mut scratch);
        if let Ok(bytes) = bytes {
            prop_assert_eq!(bytes.len(), plain.len());
        }
    }
}
