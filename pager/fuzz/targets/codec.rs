//! Blocks of the codec: rubbish, and damage.

#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|input: &[u8]| pager_fuzz::codec::run(input));

/// Without a fuzzer: plays what it is told to, a file an argument.
#[cfg(not(fuzzing))]
fn main() {
    for file in std::env::args_os().skip(1) {
        pager_fuzz::codec::run(&std::fs::read(file).expect("a file that can be read"));
    }
}
