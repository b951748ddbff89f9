//! Who is chosen, and what is made of what was measured.

use super::*;

const CHUNK: u64 = 2 << 20;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn loads(weights: &[u32]) -> Loads {
    Loads::new(weights.iter().copied())
}

/// Has a page-out of a chunk take so long there.
fn measure(loads: &mut Loads, now: Duration, member: usize, took: Duration) {
    let transfer = loads.begin(now - took, member, CHUNK);
    loads.paged_out(now, &transfer);
}

fn chosen(loads: &mut Loads, now: Duration, bytes: u64) -> usize {
    loads.begin_page_out(now, bytes, &[]).unwrap().member
}

#[test]
fn equal_directories_take_turns_also_before_they_were_measured() {
    for measured in [false, true] {
        let mut loads = loads(&[1, 1]);
        for member in (0..2).filter(|_| measured) {
            measure(&mut loads, ms(20), member, ms(10));
        }
        let mut counts = [0; 2];
        for _ in 0..8 {
            counts[chosen(&mut loads, ms(20), CHUNK)] += 1;
        }
        assert_eq!(counts, [4, 4]);
    }
}

#[test]
fn the_shortest_queue_in_time_takes_the_next() {
    let mut loads = loads(&[1, 1]);
    measure(&mut loads, ms(100), 0, ms(10));
    measure(&mut loads, ms(100), 1, ms(30));
    let order: Vec<_> = (0..8).map(|_| chosen(&mut loads, ms(100), CHUNK)).collect();
    // Three to one, as fast as they are; a tie goes to the first.
    assert_eq!(order.iter().filter(|member| **member == 1).count(), 2);
    assert_eq!(order[..2], [0, 0]);
}

#[test]
fn what_runs_beside_others_is_not_taken_for_slow() {
    let mut loads = loads(&[1]);
    let transfers: Vec<_> = (0..2).map(|_| loads.begin(ms(0), 0, CHUNK)).collect();
    // Both at once, in the time of two.
    for transfer in transfers {
        loads.paged_out(ms(20), &transfer);
    }
    let beside = loads.of(0).bytes_per_second().unwrap();
    let alone = (CHUNK + CALL_BYTES) * 100;
    assert!(beside.abs_diff(alone) < alone / 100, "{beside} and {alone}");
}

#[test]
fn what_does_not_answer_is_avoided_and_what_was_slow_is_tried_again() {
    let mut loads = loads(&[1, 1]);
    measure(&mut loads, ms(100), 0, ms(10));
    measure(&mut loads, ms(100), 1, ms(10));
    let hung = loads.begin(ms(100), 0, CHUNK);
    for _ in 0..20 {
        assert_eq!(chosen(&mut loads, ms(2000), CHUNK), 1);
    }
    assert_eq!(loads.state(ms(2000), 0), DirectoryState::Slow);
    loads.paged_out(ms(3000), &hung);
    let mut loads = Loads::new([1, 1].into_iter());
    measure(&mut loads, ms(100), 0, ms(1));
    measure(&mut loads, ms(100), 1, ms(50));
    for second in 1..60 {
        let now = Duration::from_secs(second);
        let transfer = loads.begin_page_out(now, CHUNK, &[]).unwrap();
        if transfer.member == 1 {
            return assert!(second > 10, "only after a while");
        }
        loads.paged_out(now + ms(1), &transfer);
    }
    panic!("a slow one was never tried again");
}

#[test]
fn what_fails_is_left_out_for_longer_each_time() {
    let mut loads = loads(&[1, 1]);
    let mut now = ms(0);
    let mut pauses = Vec::new();
    for _ in 0..12 {
        let transfer = loads.begin_page_out(now, CHUNK, &[1]).unwrap();
        loads.failed(now, &transfer, false, "it is broken".to_owned());
        assert_eq!(loads.state(now, 0), DirectoryState::Failing);
        assert_eq!(chosen(&mut loads, now, 1), 1, "however small it is");
        let out = loads.of(0).out.unwrap();
        pauses.push(out.until - now);
        now = out.until;
    }
    assert_eq!(pauses[..3], [ms(100), ms(200), ms(400)]);
    assert_eq!(pauses.last(), Some(&LONGEST_BACKOFF));
    let transfer = loads.begin_page_out(now, CHUNK, &[1]).unwrap();
    loads.paged_out(now + ms(1), &transfer);
    assert_eq!(loads.state(now, 0), DirectoryState::InUse);
}

#[test]
fn only_one_tries_what_had_failed() {
    let mut loads = loads(&[1, 1]);
    measure(&mut loads, ms(1000), 1, ms(500));
    let transfer = loads.begin(ms(1000), 0, CHUNK);
    loads.failed(ms(1000), &transfer, false, String::new());
    assert_eq!(chosen(&mut loads, ms(1200), CHUNK), 0);
    assert_eq!(chosen(&mut loads, ms(1200), CHUNK), 1);
}

#[test]
fn a_full_one_takes_what_is_smaller_and_all_when_as_much_was_freed() {
    let mut loads = loads(&[1, 1]);
    measure(&mut loads, ms(10), 0, ms(1));
    measure(&mut loads, ms(10), 1, ms(9));
    let transfer = loads.begin(ms(10), 0, CHUNK);
    loads.failed(ms(10), &transfer, true, "it is full".to_owned());
    assert_eq!(loads.state(ms(10), 0), DirectoryState::Full);
    assert_eq!(chosen(&mut loads, ms(10), CHUNK), 1);
    assert_eq!(chosen(&mut loads, ms(10), CHUNK / 2), 0);
    loads.freed(0, CHUNK / 2);
    assert_eq!(chosen(&mut loads, ms(10), CHUNK), 1);
    loads.freed(0, CHUNK / 2);
    assert_eq!(loads.state(ms(10), 0), DirectoryState::InUse);
}

#[test]
fn all_are_tried_before_it_is_an_error_and_none_twice() {
    let mut loads = loads(&[1, 0, 1]);
    let mut tried = Vec::new();
    while let Some(transfer) = loads.begin_page_out(ms(5), CHUNK, &tried) {
        tried.push(transfer.member);
        loads.failed(ms(5), &transfer, false, String::new());
    }
    // Those without a weight come last.
    assert_eq!(tried, [0, 2, 1]);
    assert!(loads.loads.iter().all(|load| load.begun.is_empty()));
    assert!(loads.loads.iter().all(|load| load.cost_bytes == 0));
}

#[test]
fn a_weight_of_two_takes_twice_as_much() {
    let mut loads = loads(&[2, 1]);
    let order: Vec<_> = (0..9).map(|_| chosen(&mut loads, ms(1), CHUNK)).collect();
    assert_eq!(order.iter().filter(|member| **member == 0).count(), 6);
}
