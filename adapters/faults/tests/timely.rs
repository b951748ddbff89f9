//! pager-timely with system calls that fail, each kind at many places: every byte comes back
//! in order, or the consumer ends with the error; nothing hangs, and nothing is left.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use pager_testkit::syscalls::{Call, Fault, Injection};
use pager_timely::{Settings, Spill};
use timely::communication::allocator::zero_copy::bytes_exchange::{
    BytesPull, MergeQueue, SendEndpoint,
};
use timely::communication::buzzer::Buzzer;

const MESSAGES: u64 = 200;
const WORDS: u64 = 2000;

fn word(message: u64, at: u64) -> u64 {
    message.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ at
}

/// How a run ended.
#[derive(Debug, PartialEq)]
enum End {
    /// All came back.
    Whole,
    /// The consumer was told that something does not come back.
    Told,
}

/// Sends all, then receives all.
fn run(spill: &Spill) -> End {
    let hooks = spill.hooks();
    let (writer, reader) = hooks.spill.expect("it was installed")();
    let (writer, mut reader) = MergeQueue::new_pair(Buzzer::default(), Some(writer), Some(reader));
    let mut endpoint = SendEndpoint::new(writer, hooks.refill);
    for message in 0..MESSAGES {
        let bytes: Vec<u8> = (0..WORDS)
            .flat_map(|at| word(message, at).to_ne_bytes())
            .collect();
        endpoint.reserve(bytes.len())[..bytes.len()].copy_from_slice(&bytes);
        endpoint.make_valid(bytes.len());
    }
    drop(endpoint);
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let (begun, mut pieces, mut seen) = (Instant::now(), Vec::new(), 0);
        while seen < MESSAGES * WORDS {
            assert!(begun.elapsed() < Duration::from_secs(60), "nothing comes");
            reader.drain_into(&mut pieces);
            let mut is_idle = true;
            for piece in pieces.drain(..) {
                for bytes in piece.chunks_exact(8) {
                    let found = u64::from_ne_bytes(bytes.try_into().expect("eight bytes"));
                    assert_eq!(found, word(seen / WORDS, seen % WORDS), "wrong data");
                    seen += 1;
                    is_idle = false;
                }
            }
            if is_idle {
                thread::park_timeout(Duration::from_secs(30));
            }
        }
    }));
    let end = match ended {
        Ok(()) => End::Whole,
        Err(panic) => {
            let said = panic.downcast_ref::<String>().map_or("", String::as_str);
            assert!(said.starts_with("timely communication error:"), "{said}");
            End::Told
        }
    };
    drop(reader);
    end
}

struct Outcome {
    end: End,
    counts: Vec<(Call, usize)>,
    struck: usize,
}

/// One run with `faults`, on a pager of its own.
fn under(budget_bytes: usize, faults: &[Fault]) -> Outcome {
    let (pager, _scratch) = faults::file_pager(budget_bytes);
    let settings = Settings::default()
        .threshold_bytes(256 << 10)
        .head_bytes(64 << 10)
        .batch_bytes(256 << 10)
        .ahead_bytes(1 << 20);
    let spill = Spill::new(Arc::clone(&pager), settings);
    let injection = Injection::begin(faults);
    let end = run(&spill);
    let (struck, counts) = (injection.struck(), injection.counts());
    injection.heal();
    let failure = spill.failure();
    assert_eq!(
        end == End::Told,
        failure.is_some(),
        "{faults:?}: {failure:?}"
    );
    if let (Some(failure), [fault]) = (failure, faults) {
        assert!(fault.is_told_by(failure.cause()), "{fault}: {failure:?}");
    }
    let begun = Instant::now();
    while pager.stats().total.live_handles > 0 {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "{faults:?}: a payload is left"
        );
        thread::sleep(Duration::from_millis(1));
    }
    Outcome {
        end,
        counts,
        struck,
    }
}

#[test]
fn every_byte_comes_back_or_the_consumer_is_told() {
    // Its words are compared; where it came from is of no interest.
    std::panic::set_hook(Box::new(|_| {}));
    let (mut struck, mut told) = (0, 0);
    for budget_bytes in [0, 2 << 20] {
        let calm = under(budget_bytes, &[]);
        assert_eq!(calm.end, End::Whole);
        for fault in faults::plans(&calm.counts) {
            let outcome = catch_unwind(|| under(budget_bytes, &[fault]));
            let outcome = outcome.unwrap_or_else(|panic| {
                let said = panic.downcast_ref::<String>().cloned();
                let _ = std::panic::take_hook();
                panic!("{fault}: {said:?}");
            });
            struck += usize::from(outcome.struck > 0);
            told += usize::from(outcome.end == End::Told);
            // What fails once is tried again.
            assert!(fault.for_good || outcome.end == End::Whole, "{fault}");
        }
    }
    println!("{struck} faults struck; {told} consumers were told, the others had everything");
    assert!(struck > 100, "{struck} faults are no campaign");
    assert!(told > 0, "a device that fails for good is told of");
}
