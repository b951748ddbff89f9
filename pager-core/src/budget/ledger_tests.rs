//! The ledger: shares, limits, and refusals that count nothing.

use super::*;

const DIRTY: Kind = Kind::Dirty;
const AHEAD: Kind = Kind::ReadAhead;

fn ledger() -> Ledger {
    Ledger::new(100, Watermarks { low: 50, high: 75 }, None)
}

#[test]
fn page_outs_get_what_lies_below_the_high_watermark() {
    let ledger = ledger();
    assert_eq!(ledger.reserve(DIRTY, 75), Ok(()));
    assert_eq!(ledger.reserve(DIRTY, 1), Err(Refusal::ShareIsFull));
    ledger.turn(DIRTY, Kind::Clean, 75);
    assert_eq!(ledger.reserve(DIRTY, 25), Ok(()));
    assert_eq!(ledger.reserve(DIRTY, 1), Err(Refusal::BudgetIsFull));
    assert_eq!((ledger.held_bytes(), ledger.bytes_of(DIRTY)), (100, 25));
    assert_eq!(ledger.bytes_of(Kind::Clean), 75);
    ledger.give_back(Kind::Clean, 75);
    assert_eq!(ledger.reserve(DIRTY, 50), Ok(()));
}

#[test]
fn read_ahead_gets_what_lies_above_it_or_one_payload() {
    let ledger = ledger();
    assert_eq!(ledger.reserve(AHEAD, 20), Ok(()));
    assert_eq!(ledger.reserve(AHEAD, 6), Err(Refusal::ShareIsFull));
    ledger.turn(AHEAD, Kind::Clean, 20);
    assert_eq!(ledger.reserve(AHEAD, 80), Ok(()));
    assert_eq!(ledger.reserve(AHEAD, 1), Err(Refusal::ShareIsFull));
    ledger.give_back(AHEAD, 80);
    ledger.give_back(Kind::Clean, 20);
    assert_eq!((ledger.held_bytes(), ledger.bytes_of(AHEAD)), (0, 0));
    assert_eq!(ledger.peak_resident_bytes(), 100);
}

#[test]
fn a_refused_reservation_counts_nothing() {
    let ledger = ledger();
    assert_eq!(ledger.reserve(DIRTY, usize::MAX), Err(Refusal::ShareIsFull));
    assert_eq!(ledger.reserve(AHEAD, 101), Err(Refusal::BudgetIsFull));
    assert_eq!(ledger.held_bytes(), 0);
    assert_eq!((ledger.bytes_of(DIRTY), ledger.bytes_of(AHEAD)), (0, 0));
}

#[test]
fn the_last_eighth_of_the_budget_is_nearly_full() {
    let ledger = ledger();
    assert_eq!(ledger.reserve(DIRTY, 70), Ok(()));
    ledger.turn(DIRTY, Kind::Clean, 70);
    assert_eq!(ledger.reserve(DIRTY, 18), Ok(()));
    assert!(!ledger.is_nearly_full_without(0));
    assert_eq!(ledger.reserve(AHEAD, 1), Ok(()));
    assert!(ledger.is_nearly_full_without(0));
    assert!(!ledger.is_nearly_full_without(1));
}

#[test]
fn a_smaller_budget_is_seen_at_once() {
    let ledger = ledger();
    assert_eq!(ledger.reserve(DIRTY, 60), Ok(()));
    assert!(ledger.is_above_low() && !ledger.is_nearly_high());
    ledger.set_budget_bytes(40);
    assert!(ledger.is_over_budget() && ledger.is_nearly_high());
    assert_eq!(ledger.reserve(AHEAD, 1), Err(Refusal::BudgetIsFull));
}

#[test]
fn two_transfers_always_have_room_and_a_third_waits() {
    let ledger = ledger();
    assert_eq!(ledger.reserve(Kind::Clean, 100), Ok(()));
    for _ in 0..2 {
        assert_eq!(ledger.reserve(Kind::Transfer, 40), Ok(()));
    }
    let third = ledger.reserve(Kind::Transfer, 40);
    assert_eq!(third, Err(Refusal::ShareIsFull));
    assert!(ledger.is_over_budget());
    assert_eq!((ledger.held_bytes(), ledger.resident_bytes()), (180, 100));
    // A quarter of the budget at most is theirs.
    assert_eq!(ledger.limit_bytes(), 75);
}

#[test]
fn bookkeeping_beyond_the_first_mebibyte_takes_room_from_payloads() {
    let ledger = ledger();
    let free_bytes = FREE_BOOKKEEPING_BYTES;
    assert_eq!(ledger.reserve(Kind::Bookkeeping, free_bytes), Ok(()));
    assert_eq!(ledger.limit_bytes(), 100);
    assert_eq!(ledger.reserve(Kind::Bookkeeping, 60), Ok(()));
    assert_eq!(ledger.limit_bytes(), 40);
    assert_eq!(ledger.reserve(DIRTY, 31), Err(Refusal::ShareIsFull));
    assert_eq!(ledger.held_bytes(), free_bytes + 60);
    ledger.give_back(Kind::Bookkeeping, free_bytes + 60);
    assert_eq!((ledger.limit_bytes(), ledger.held_bytes()), (100, 0));
}

#[test]
fn spare_buffers_get_an_eighth() {
    let ledger = ledger();
    assert_eq!(ledger.reserve(Kind::Spare, 12), Ok(()));
    assert_eq!(ledger.reserve(Kind::Spare, 1), Err(Refusal::ShareIsFull));
    assert_eq!(ledger.resident_bytes(), 0);
}
