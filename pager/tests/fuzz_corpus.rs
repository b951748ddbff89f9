//! Every file of the committed fuzz corpora, and inputs of chance, played through the
//! functions that the fuzz targets play: no fuzzer, no nightly compiler.

#![cfg(all(unix, feature = "swap", feature = "file"))]
#![allow(clippy::unwrap_used, reason = "a test says so by panicking")]

#[path = "../fuzz/src/lib.rs"]
#[allow(
    unreachable_pub,
    reason = "the same file is the library of the fuzz targets"
)]
mod fuzz;

use std::path::Path;

use proptest::prelude::*;
use rstest::rstest;

#[rstest]
#[case::operations("operations", fuzz::operations::run)]
#[case::ranges("ranges", fuzz::ranges::run)]
#[case::failures("failures", fuzz::failures::run)]
#[case::codec("codec", fuzz::codec::run)]
fn every_input_of_the_corpus_agrees_with_the_model(#[case] target: &str, #[case] run: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let mut played = 0;
    for file in corpus.read_dir().unwrap() {
        let file = file.unwrap().path();
        println!("{}", file.display());
        run(&std::fs::read(file).unwrap());
        played += 1;
    }
    assert!(played > 0, "the corpus is empty");
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 32,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn operations_of_chance_agree_with_the_model(input: [u8; 300]) {
        fuzz::operations::run(&input);
    }

    #[test]
    fn ranges_of_chance_agree_with_the_model(input: [u8; 300]) {
        fuzz::ranges::run(&input);
    }

    #[test]
    fn blocks_of_chance_decode_or_are_refused(input: [u8; 300]) {
        fuzz::codec::run(&input);
    }

    #[test]
    fn failures_of_chance_agree_with_the_model(input: [u8; 300]) {
        fuzz::failures::run(&input);
    }
}
