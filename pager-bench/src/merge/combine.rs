//! What the merge makes of a pair of chunks.
//!
//! Random words are mixed, so that every word of either output depends on the words of
//! both inputs at its place, and random inputs make random outputs. Columns are
//! interleaved in runs, as a merge of sorted runs whose keys overlap in stretches does,
//! so that outputs are as compressible as inputs. Either way every line of the
//! processor's cache is read and written, and no word and no order of the inputs can be
//! wrong unseen.

use crate::buffer::Buffer;
use crate::data::DataKind;

/// Words that are mixed or copied at a time: few enough that memcpy does not take them
/// to the string instructions, which are slow over some distances, and the program's own
/// work would hide what the pager does.
const PIECE_WORDS: usize = 128;

/// Words of one input that follow each other in an output: 16 KiB. The inputs of a pair
/// are of one column, and differ by a constant, so that shorter runs would not shrink as
/// they do.
const RUN_WORDS: usize = 2048;

/// Makes both outputs from both inputs, which have the same length.
///
/// # Errors
///
/// No memory.
pub fn combine<C: Buffer>(
    data: DataKind,
    inputs: &[C; 2],
    outputs: &mut [C; 2],
) -> pager_core::Result<()> {
    for output in &mut *outputs {
        output.forget();
        output.reserve_words(inputs[0].elements().len())?;
    }
    match data {
        DataKind::Random => mix(inputs, outputs),
        DataKind::Lineitem => interleave(inputs, outputs),
    }
}

fn mix<C: Buffer>(inputs: &[C; 2], outputs: &mut [C; 2]) -> pager_core::Result<()> {
    let (a, b) = (inputs[0].elements(), inputs[1].elements());
    let [first, second] = outputs;
    let mut pieces = [[0u64; PIECE_WORDS]; 2];
    for (a, b) in a.chunks(PIECE_WORDS).zip(b.chunks(PIECE_WORDS)) {
        let [sums, differences] = &mut pieces;
        for (((sum, difference), a), b) in sums.iter_mut().zip(differences).zip(a).zip(b) {
            *sum = a.wrapping_add(b.rotate_left(17));
            *difference = b.wrapping_sub(a.rotate_left(41));
        }
        first.append_words(&pieces[0][..a.len()])?;
        second.append_words(&pieces[1][..a.len()])?;
    }
    Ok(())
}

/// A run of the first input, one of the second, and so on; the first output is full
/// when half of both inputs is gone.
fn interleave<C: Buffer>(inputs: &[C; 2], outputs: &mut [C; 2]) -> pager_core::Result<()> {
    let (a, b) = (inputs[0].elements(), inputs[1].elements());
    let len = a.len();
    let [first, second] = outputs;
    let runs = a.chunks(RUN_WORDS).zip(b.chunks(RUN_WORDS));
    for piece in runs
        .flat_map(|(a, b)| [a, b])
        .flat_map(|run| run.chunks(PIECE_WORDS))
    {
        let (front, rest) = piece.split_at(piece.len().min(len - first.elements().len()));
        first.append_words(front)?;
        second.append_words(rest)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_input_word_shows_in_both_mixed_outputs() {
        let inputs = [vec![3u64; 600], vec![5u64; 600]];
        let mut before = [Vec::new(), Vec::new()];
        combine(DataKind::Random, &inputs, &mut before).unwrap();
        for (side, place) in [(0, 0), (0, 599), (1, 512), (1, 599)] {
            let mut changed = inputs.clone();
            changed[side][place] ^= 1;
            let mut after = [Vec::new(), Vec::new()];
            combine(DataKind::Random, &changed, &mut after).unwrap();
            for output in 0..2 {
                assert_ne!(before[output][place], after[output][place]);
                assert_eq!(before[output].len(), 600);
            }
        }
    }

    #[test]
    fn every_input_word_is_in_one_place_of_interleaved_outputs() {
        for len in [0, 1, 600, RUN_WORDS, 3 * RUN_WORDS + 77] {
            let inputs: [Vec<u64>; 2] = [0, 1].map(|side| {
                let words = 0..len as u64;
                words.map(|word| word << 1 | side).collect()
            });
            let mut outputs = [Vec::new(), Vec::new()];
            combine(DataKind::Lineitem, &inputs, &mut outputs).unwrap();
            assert_eq!([outputs[0].len(), outputs[1].len()], [len, len]);
            let mut joined = outputs.concat();
            joined.sort_unstable();
            assert!(joined == (0..2 * len as u64).collect::<Vec<_>>(), "{len}");
        }
    }

    #[test]
    fn runs_of_both_inputs_take_turns() {
        let inputs = [vec![1u64; 4 * RUN_WORDS], vec![2u64; 4 * RUN_WORDS]];
        let mut outputs = [Vec::new(), Vec::new()];
        combine(DataKind::Lineitem, &inputs, &mut outputs).unwrap();
        for output in outputs {
            let turns: Vec<u64> = output.chunks(RUN_WORDS).map(|run| run[0]).collect();
            assert_eq!(turns, [1, 2, 1, 2]);
        }
    }
}
